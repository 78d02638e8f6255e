"""The Windows event log as a sink, as far as Wine has one: its registry and its calls, not its reading."""

import contextlib
import subprocess
import sys
import winreg
from dataclasses import replace
from pathlib import Path

import pytest

from etwdetect.results.sinks.opening import open_sink
from tests.results.conftest import FULL, HOSTILE

KEY = r"SYSTEM\CurrentControlSet\Services\EventLog\Application"
SAMPLE = Path(__file__).resolve().parents[3] / "samples" / "windbg-attach.etl"


def values(source):
    with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, rf"{KEY}\{source}") as key:
        return {
            name: value
            for name, value, _ in (winreg.EnumValue(key, n) for n in range(winreg.QueryInfoKey(key)[1]))
        }


@pytest.fixture
def source():
    """The name of a source that is not registered, and that is gone afterwards."""
    name = "etwdetect-test"
    with contextlib.suppress(FileNotFoundError):
        winreg.DeleteKey(winreg.HKEY_LOCAL_MACHINE, rf"{KEY}\{name}")
    yield name
    with contextlib.suppress(FileNotFoundError):
        winreg.DeleteKey(winreg.HKEY_LOCAL_MACHINE, rf"{KEY}\{name}")


def report(source, *detections):
    told = []
    sink = open_sink(f"eventlog:{source}", told.append, wait=None)
    for each in detections:
        sink.put(each)
    sink.close()
    assert told == []
    return sink


def test_events_are_taken_and_the_source_is_registered_with_words_for_them(source):
    assert report(source, FULL).complete
    assert values(source) == {
        "EventMessageFile": r"%SystemRoot%\System32\EventCreate.exe",
        "TypesSupported": 7,
    }


def test_a_source_that_is_registered_stays_as_it_is(source):
    with winreg.CreateKey(winreg.HKEY_LOCAL_MACHINE, rf"{KEY}\{source}") as key:
        winreg.SetValueEx(key, "EventMessageFile", 0, winreg.REG_SZ, "other.dll")
    assert report(source, FULL).complete
    assert values(source) == {"EventMessageFile": "other.dll"}


def test_no_name_and_no_length_is_too_much(source):
    long = replace(FULL, source=replace(FULL.source, image=HOSTILE, command_line="x" * 32_000))
    assert report(source, *[long] * 20).sent == 20


def test_a_scan_reports_what_it_finds():
    command = [sys.executable, "-m", "etwdetect", "scan", SAMPLE, "--format", "classic", "--to", "eventlog:"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "eventlog:etwdetect: 2 of 2 sent" in done.stderr
    assert len(done.stdout.splitlines()) == 2
