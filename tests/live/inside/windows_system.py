"""What the system itself tells of processes: of this one, and of one that a test starts."""

import ctypes
import json
import os
import subprocess
import sys
import time
from ctypes import wintypes

import pytest

from etwdetect.core.events import ThreadStart
from etwdetect.core.rule import RemoteThread
from etwdetect.live import ownership, system
from etwdetect.live.clock import filetime_now
from etwdetect.live.lookups import Lookups
from etwdetect.live.monitor import Monitor
from etwdetect.live.session import Session
from etwdetect.sources.decode.encode import encode
from parity_tests.simulators.packed_events import SimProcess

NOW = 134_000_000_000_000_000


@pytest.fixture
def child():
    """A Python that waits, and has begun to: before that it has not mapped all its modules."""
    command = (sys.executable, "-c", "input('ready')", "some argument")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.read(len(b"ready")) == b"ready"
        yield process
        process.kill()


def address_of(library, function):
    kernel32 = ctypes.WinDLL("kernel32")
    kernel32.GetModuleHandleW.restype = wintypes.HMODULE
    kernel32.GetProcAddress.argtypes = wintypes.HMODULE, ctypes.c_char_p
    kernel32.GetProcAddress.restype = ctypes.c_void_p
    return kernel32.GetProcAddress(kernel32.GetModuleHandleW(library), function)


def test_a_process_is_told_as_an_event_would(child):
    found = system.process(child.pid, NOW)
    assert (found.time, found.pid) == (NOW, child.pid)
    assert found.image.lower().endswith(r"\python.exe")
    assert found.image.startswith("\\Device\\")
    assert found.command_line.endswith('''-c input('ready') "some argument"''')
    assert abs(found.create_time - filetime_now()) < 600_000_000
    assert found.sid[0] == 1
    assert len(found.sid) == 8 + 4 * found.sid[1]
    assert found.session_id is not None


def test_a_process_that_is_gone_is_none(child):
    child.kill()
    child.wait()
    assert system.process(child.pid, NOW) is None
    assert list(system.modules(child.pid, NOW)) == []


def test_the_modules_of_a_process_hold_its_functions(child):
    modules = list(system.modules(child.pid, NOW))
    assert all(module.rundown and module.pid == child.pid and module.time == NOW for module in modules)
    address = address_of("kernel32", b"Sleep")
    (holding,) = (module for module in modules if module.base <= address < module.base + module.size)
    assert holding.image.lower().endswith("\\kernel32.dll")
    assert holding.time_date_stamp is not None


def test_all_processes_are_found_this_one_too(child):
    assert {os.getpid(), child.pid} <= {process.pid for process in system.processes(NOW)}


def test_every_drive_stands_for_a_device():
    drives = {volume.path: volume.device for volume in system.volumes(NOW)}
    assert drives["C:\\"].startswith("\\Device\\")
    assert all(device.endswith("\\") for device in drives.values())


def test_this_process_lives_and_one_that_has_ended_does_not(child):
    assert ownership.is_running(ownership.this_process("monitor"))
    owner = ownership.Owner("monitor", child.pid, 1)
    assert not ownership.is_running(owner)


def test_the_kernels_images_are_listed_with_their_places():
    found = list(system.kernel_images(filetime_now()))
    assert all(image.rundown and image.pid == 0 and image.base and image.size for image in found)
    assert any(image.image.lower().endswith("ntoskrnl.exe") for image in found)


# -- lookups


def asked(lookups, thread):
    return [type(event).__name__ for event in lookups.about(thread)]


def test_both_processes_are_asked_about_once_in_their_lives(child):
    lookups = Lookups()
    thread = RemoteThread(filetime_now(), os.getpid(), 1, child.pid, 2)
    kinds = asked(lookups, thread)
    assert kinds.count("ProcessRundown") >= 2
    assert "ImageLoad" in kinds
    assert asked(lookups, thread) == []


def test_a_process_that_began_later_is_another_one(child):
    before = system.process(child.pid, NOW).create_time - 10_000_000
    told = list(Lookups().about(RemoteThread(before, child.pid, 1, child.pid, 2)))
    assert told == []


def test_without_events_a_process_that_is_gone_is_told_to_have_stopped(child):
    child.kill()
    child.wait()
    kinds = asked(Lookups(events=False), RemoteThread(filetime_now(), os.getpid(), 1, child.pid, 2))
    assert kinds[-1] == "ProcessStop"


# -- a whole monitor


def test_what_no_event_tells_is_asked_of_the_system(machine, monitor, child):
    watching = monitor("--format", "json")
    address = address_of("kernel32", b"Sleep")
    machine.log([encode(ThreadStart(0, os.getpid(), 4, child.pid, 8, address))])
    record = json.loads(watching.line())
    assert record["TargetImage"].lower().endswith(r"\python.exe")
    assert record["TargetCommandLine"].endswith('"some argument"')
    assert "pytest" in record["SourceCommandLine"]
    assert record["SourceUser"]
    assert record["StartModule"].lower().endswith("\\kernel32.dll")
    assert record["Computer"]


def test_a_windows_without_the_list_of_processes_is_asked_one_by_one(machine, monkeypatch, child):
    monkeypatch.setattr(Session, "capture_state", lambda _: False)
    stopping = []
    turns = Monitor(lambda: bool(stopping), print).poll()
    next(turns)
    time.sleep(1.5)  # past the session's start, whose hits are in doubt
    machine.log([encode(ThreadStart(0, 400_004, 4, child.pid, 8, 0x1000))])
    found = []
    while not found:
        found = next(turns)
    stopping.append(True)
    list(turns)
    (detection,) = found
    assert detection.target.image.lower().endswith(r"\python.exe")
    assert detection.thread.evidence == ()


def test_a_target_that_may_have_been_born_as_the_session_began_is_doubted(machine):
    stopping = []
    monitor = Monitor(lambda: bool(stopping), print)
    start = monitor.stream.lost.time
    machine.set_processes([SimProcess(400_008, r"\new.exe", create_time=start - 1_000_000)])
    turns = monitor.poll()
    next(turns)
    machine.log([encode(ThreadStart(start + 1_000_000, 400_004, 4, 400_008, 8, 0x1000))])
    found = []
    while not found:
        found = next(turns)
    stopping.append(True)
    list(turns)
    assert found[0].thread.evidence == ("session-start",)
