"""The Windows side of the wine and vm benches: what goes red, what is background, what the vm bench refuses."""

import contextlib
import ctypes
import os
import subprocess
import sys
import winreg
from contextlib import closing

import pytest

from etwdetect.core.errors import NotElevatedError
from etwdetect.kdetector import Device, service
from parity_tests import loading
from parity_tests.benches import open_bench
from parity_tests.errors import PerformanceError
from parity_tests.evaluation import evaluate
from parity_tests.simulators.simetw import SimEtw
from parity_tests.windows import api, detectors, driver_service, lab_worker, notifier
from parity_tests.windows.executor import perform
from parity_tests.windows.injector import Injector
from parity_tests.windows.machine import BIOS_KEY, BIOS_VALUES, bios_words

SCENARIO = """
title = "A thread in another process"
why = "Something to look at"
steps = [
  { create_remote_thread = "notepad", by = "injector", at = "nowhere", named = "payload" },
]
expect = [
  { thread_in = "notepad/payload", made_by = "injector" },
]
[processes]
notepad = { running = true }
injector = { running = true }
"""
STRANGER, ITS_THREAD = 0x7000, 0x7004


@pytest.fixture
def performed():
    """Returns a function that performs SCENARIO here, and what is judged of it."""

    def run():
        scenario = loading.parse(SCENARIO, "timeline")
        return evaluate(scenario, "wine", perform(scenario, lambda: lab_worker.load(scenario), notify=True))

    yield run
    driver_service.remove()


@pytest.fixture
def besides(monkeypatch):
    """Returns a function that lets something happen besides, once, right after the opening marker."""

    def let(happen):
        original, times = notifier.Notifier.thread_created, []

        def thread_created(sender, *ids):
            original(sender, *ids)
            if not times:
                times.append(1)
                happen(sender)

        monkeypatch.setattr(notifier.Notifier, "thread_created", thread_created)

    return let


def test_what_both_report_alike_passes(performed):
    result = performed()
    assert (result.complaints, len(result.comparison.matched), result.notes) == ((), 1, ())


def test_a_thread_of_which_the_driver_alone_is_told_is_a_difference(performed, besides):
    def driver_alone(_sender):
        with closing(Injector()) as driver:
            driver.thread_created(STRANGER, ITS_THREAD)

    besides(driver_alone)
    (complaint,) = performed().complaints
    assert complaint.startswith(f"only the driver has {os.getpid()}:")
    assert complaint.endswith(f" -> {STRANGER}:{ITS_THREAD}")


def test_a_thread_of_which_etw_alone_is_told_is_a_difference(performed, besides, monkeypatch):
    def etw_alone(sender):
        with monkeypatch.context() as patched:
            patched.setattr(Injector, "thread_created", lambda *_: None)
            sender.thread_created(STRANGER, ITS_THREAD)

    besides(etw_alone)
    (complaint,) = performed().complaints
    assert complaint.startswith("only ETW has ")


def test_a_thread_that_both_report_and_nobody_expects_is_background(performed, besides):
    besides(lambda sender: sender.thread_created(STRANGER, ITS_THREAD))
    result = performed()
    assert result.complaints == ()
    assert result.notes == (f"background that both report: {os.getpid()} -> {STRANGER}",)


def test_a_process_that_its_creator_tells_the_driver_alone_of_makes_its_first_thread_a_difference(
    performed, besides
):
    def half_told(sender):
        with closing(Injector()) as driver:
            driver.process_created(STRANGER)
        sender.thread_created(STRANGER, ITS_THREAD)

    besides(half_told)
    (complaint,) = performed().complaints
    assert complaint.startswith("only ETW has ")


def test_nothing_that_was_started_is_left_behind(performed, monkeypatch):
    started = []
    original = api.start_process
    monkeypatch.setattr(
        api, "start_process", lambda *what, **how: started.append(original(*what, **how)) or started[-1]
    )
    performed()
    assert len(started) == 3
    assert all(api.wait_for_process(each.pid, 10) for each in started)


@pytest.mark.usefixtures("driver")
def test_where_windows_tells_nobody_of_threads_the_marker_is_missed(monkeypatch):
    """Wine is such a Windows, so this is as far as the vm bench comes in it."""
    monkeypatch.setattr(detectors, "_TIMEOUT_SECONDS", 1.0)
    scenario = loading.parse(SCENARIO.replace("notepad", "calc"), "timeline")
    with pytest.raises(PerformanceError, match=r"the session does not report the marker thread \d+:\d+ -> "):
        perform(scenario, detectors.Detectors, notify=False)


def test_a_session_that_somebody_stops_is_told_of(performed, monkeypatch):
    """It is stopped before the closing marker: the monitor has it back some seconds later."""
    monkeypatch.setattr(detectors, "_TIMEOUT_SECONDS", 15.0)
    machine = SimEtw(notifier.SIMETW)
    original, threads = notifier.Notifier.thread_created, []

    def thread_created(sender, *ids):
        threads.append(ids)
        if len(threads) == 2:  # the closing marker; an agent creates the scenario's thread, in its own process
            machine.stop_session(machine.sessions()[0].name)
        original(sender, *ids)

    monkeypatch.setattr(notifier.Notifier, "thread_created", thread_created)
    with pytest.raises(
        PerformanceError, match=r"does not report the marker thread .* was stopped by another program"
    ):
        performed()


@pytest.fixture
def driver():
    """The driver, loaded."""
    driver_service.remove()
    service.install(notifier.DRIVER)
    service.start()
    yield
    driver_service.remove()


@pytest.fixture
def firmware():
    """Returns a function that sets the manufacturer of this machine; the old one is restored at the end."""
    before = bios_words()

    def say(*words):
        with winreg.CreateKey(winreg.HKEY_LOCAL_MACHINE, BIOS_KEY) as key:
            for name in BIOS_VALUES:
                with contextlib.suppress(OSError):
                    winreg.DeleteValue(key, name)
            for name, word in zip(BIOS_VALUES, words, strict=False):
                winreg.SetValueEx(key, name, 0, winreg.REG_SZ, word)

    yield say
    say(*before)


def run_vm_bench(*arguments):
    """Run the vm bench as a user does; return the exit status and what was said on standard error."""
    command = (
        *(sys.executable, "-m", "etwdetect", "parity", "run", "table-overflow", "--bench", "vm"),
        *arguments,
    )
    done = subprocess.run(command, input="", capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.usefixtures("driver")
def test_the_vm_bench_runs_where_the_firmware_is_a_virtual_machine_s(firmware):
    firmware("Microsoft Corporation", "Virtual Machine")
    status, said = run_vm_bench()
    assert status == 0, said
    assert "the loaded driver has room for 16,384 new processes, not for 4" in said


@pytest.mark.usefixtures("driver")
def test_the_vm_bench_refuses_any_other_machine_unless_told_so(firmware):
    firmware("Dell Inc.", "OptiPlex 7010")
    status, said = run_vm_bench()
    assert (status, "Dell Inc., OptiPlex 7010" in said, "--not-a-vm" in said) == (5, True, True)
    assert run_vm_bench("--not-a-vm")[0] == 0


def test_the_vm_bench_refuses_who_is_no_administrator(monkeypatch):
    # In Wine everybody is one.
    monkeypatch.setattr(ctypes.windll.shell32, "IsUserAnAdmin", lambda: 0)
    with pytest.raises(NotElevatedError, match="Run as administrator"), open_bench("vm"):
        pass


def test_the_vm_bench_refuses_a_machine_without_the_driver():
    driver_service.remove()
    status, said = run_vm_bench("--not-a-vm")
    assert (status, "KDetector is not running; start it with: etwdetect driver start" in said) == (1, True)


@pytest.mark.usefixtures("driver")
def test_the_vm_bench_refuses_when_another_program_drains_the_driver():
    with Device(reading=True):
        status, said = run_vm_bench("--not-a-vm")
    assert status == 1
    assert "KDetector" in said
