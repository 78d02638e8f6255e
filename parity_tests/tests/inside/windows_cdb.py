"""Debuggers that are cdb, with a stand-in for it: the lab has no cdb, and the real one was never run with this."""

import ctypes
import re
import sys
import winreg
from ctypes import wintypes
from dataclasses import replace
from pathlib import Path

import pytest

from parity_tests import loading
from parity_tests.evaluation import evaluate
from parity_tests.windows import api, cdb, detectors, driver_service, lab_worker
from parity_tests.windows.executor import Programs, perform

STAND_IN = (sys.executable, str(Path(__file__).with_name("stand_in_for_cdb.py")))
EVENT_NAME = "etwdetect-break-{}"
MODIFY_EVENT = 2

kernel32 = ctypes.WinDLL("kernel32")
kernel32.OpenEventW.restype = wintypes.HANDLE
kernel32.SetEvent.argtypes = (wintypes.HANDLE,)
kernel32.CloseHandle.argtypes = (wintypes.HANDLE,)


def send_break(group):
    event = kernel32.OpenEventW(MODIFY_EVENT, 0, EVENT_NAME.format(group))
    assert event, "there is no such stand-in"
    kernel32.SetEvent(event)
    kernel32.CloseHandle(event)


@pytest.fixture
def performed(monkeypatch):
    """Returns a function that performs a scenario with the stand-in; gives the observation and what is judged."""
    monkeypatch.setattr(api, "send_break", send_break)

    def run(name):
        (scenario,) = loading.find(None, [name])
        seen = perform(scenario, lambda: lab_worker.load(scenario), notify=True, programs=Programs(cdb=STAND_IN))
        return seen, evaluate(scenario, "wine", seen)

    yield run
    driver_service.remove()


@pytest.mark.parametrize(
    "name",
    [
        "windbg-attaches-to-notepad",
        "non-invasive-attach",
        "a-debugger-starts-its-debuggee",
    ],
)
def test_a_debugger_that_only_debugs_is_cdb(performed, name):
    _, result = performed(name)
    assert result.complaints == ()
    assert result.notes
    assert all(note.endswith(" was performed by cdb") for note in result.notes)


def test_cdb_is_the_creator_and_which_of_its_threads_each_side_says_by_itself(performed):
    seen, result = performed("the-five-example-lines")
    assert (result.complaints, len(result.comparison.matched)) == ((), 5)
    for side in (seen.etw, seen.driver):
        pids = [record.creator_pid for record in side.records]
        assert set(pids[:3]) == {seen.ids.pid_of("windbg")}
        assert set(pids[3:]) == {seen.ids.pid_of("cdb")}
        attached, broken_in = (record.creator_tid for record in side.records[3:])
        assert attached != broken_in


def test_a_creator_thread_that_both_sides_name_differently_is_a_difference(performed, monkeypatch):
    original = detectors.Detectors.sides

    def sides(self, *markers):
        etw, driver = original(self, *markers)
        return etw, replace(driver, records=[each._replace(creator_tid=1) for each in driver.records])

    monkeypatch.setattr(detectors.Detectors, "sides", sides)
    _, result = performed("windbg-attaches-to-notepad")
    assert [complaint.partition(" has ")[0] for complaint in result.complaints] == ["only ETW", "only the driver"]


@pytest.mark.parametrize(
    ("fault", "told_of"),
    [
        ("ends", r"cdb \(\d+\) exited; its last output: Win32 error 0n5"),
        ("other exception", r"cdb \(\d+\) stopped for another reason than a break-in; .*output: .*c0000005"),
        ("silence", r"cdb \(\d+\) did not answer within 3 s; its last output: none"),
    ],
)
def test_where_cdb_fails_the_debug_api_is_used_instead(performed, monkeypatch, fault, told_of):
    monkeypatch.setenv("STAND_IN_FOR_CDB", fault)
    if fault == "silence":  # the others are only slow where the machine is
        monkeypatch.setattr(cdb, "_TIMEOUT_SECONDS", 3.0)
    _, result = performed("windbg-attaches-to-notepad")
    assert result.complaints == ()
    assert re.match(f"performed again without cdb: {told_of}", result.notes[0])
    assert result.notes[1:] == ()


def test_a_debugger_that_detaches_and_attaches_again_uses_the_debug_api(performed):
    _, result = performed("attach-detach-attach-again")
    assert (result.complaints, result.notes) == ((), ("windbg was performed by the debug API",))


@pytest.fixture
def kit(tmp_path):
    """A Windows Kit in the registry, without debuggers; it is taken out at the end."""
    with winreg.CreateKey(winreg.HKEY_LOCAL_MACHINE, cdb.KITS_KEY) as key:
        winreg.SetValueEx(key, cdb.KITS_VALUE, 0, winreg.REG_SZ, str(tmp_path))
    yield tmp_path
    winreg.DeleteKey(winreg.HKEY_LOCAL_MACHINE, cdb.KITS_KEY)


def test_cdb_is_found_in_the_kit_that_is_installed(kit):
    assert cdb.find() is None
    program = kit / "Debuggers" / "x64" / "cdb.exe"
    program.parent.mkdir(parents=True)
    program.touch()
    assert cdb.find() == program


def test_without_a_kit_there_is_no_cdb():
    assert cdb.find() is None
