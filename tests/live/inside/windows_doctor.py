"""`etwdetect doctor` as a user starts it: its verdict in each state that Windows may be in, and what it packs."""

import ctypes
import json
import re
import subprocess
import sys
import zipfile

import pytest
from etw.evntrace import EVENT_TRACE_PROPERTIES

from etwdetect.cli import main
from etwdetect.live import sessions
from etwdetect.live.doctor import CheckResult, Doctor
from etwdetect.live.ownership import Owner, name_of
from etwdetect.live.session import Session
from etwdetect.live.settings import SessionConfig
from etwdetect.windows import tracing
from parity_tests.simulators.simetw import ALWAYS, NEVER_DRAINED, Call, FlushFlag, Setting

TRACE_MAX_LOGGERS_QUERY = 19
KINDS = {
    "provider_session",
    "provider_session_per_processor",
    "system_logger",
    "system_logger_per_processor",
}
CHECKS = {"windows", "pywintrace", "elevation", "sessions", "orphaned", "provider", "driver", "verdict"}
LINE = re.compile(r"(ok|warning|failed) +(\w+): (.+)")


def doctor(run, *arguments):
    status, lines, errors = run("doctor", *arguments).end()
    found = [LINE.fullmatch(line).groups() for line in lines]
    assert found[-1][1] == "verdict"
    return status, {what: (result, words) for result, what, words in found}, errors


def test_a_sound_machine_is_well_and_every_kind_of_session_delivers(machine, run):
    status, found, errors = doctor(run)
    assert (status, errors) == (0, [])
    assert set(found) == CHECKS | KINDS
    assert {result for result, _ in found.values()} == {"ok"}, found
    assert machine.sessions() == []
    assert found["sessions"] == ("ok", "0 of 64 are in use")
    assert "ThreadStart version 1" in found["provider"][1]
    for kind in KINDS:
        assert re.search(r"within \d+ ms; LogFileMode 0x\w{8}, FlushTimer 100 ms, \d+ buffers", found[kind][1])


def test_with_stacks_one_more_kind_says_what_thread_starts_got_and_took(machine, run, tmp_path):  # noqa: ARG001
    report = tmp_path / "report.zip"
    status, found, _ = doctor(run, "--stacks", "--report", report)
    assert status == 0
    assert set(found) == CHECKS | KINDS | {"provider_session_with_stacks"}
    result, words = found["provider_session_with_stacks"]
    # The stand-in walks no stacks by itself.
    assert result == "warning"
    assert "of 200 thread starts 0 got the kernel part of the call stack and 0 the user part" in words
    assert re.search(r"starting a thread took [\d,]+ microseconds, [\d,]+ without stacks; without the user", words)
    with zipfile.ZipFile(report) as archive:
        sessions_told = json.loads(archive.read("doctor.json"))["sessions"]
    assert [each["what"] for each in sessions_told if each["thread_start_us"]] == [
        "provider_session",
        "provider_session_with_stacks",
    ]
    assert sessions_told[-1]["stacks"] == {"starts": 200, "kernel": 0, "user": 0, "size": 0}


def modes(found):
    return {what: int(re.search(r"LogFileMode (\w+)", found[what][1])[1], 16) for what in KINDS}


def test_it_prints_what_windows_made_of_each_kind(machine, run):  # noqa: ARG001
    assert modes(doctor(run)[1]) == {
        "provider_session": 0x1800_0110,
        "provider_session_per_processor": 0x0800_0110,
        "system_logger": 0x1A00_0110,
        "system_logger_per_processor": 0x0A00_0110,
    }


def fail(call, error):
    return lambda machine: machine.fail(call, error, ALWAYS)


def put(setting, value):
    return lambda machine: machine.set(setting, value)


BROKEN = {
    "not elevated": (put(Setting.ELEVATED, 0), "access denied; run this in a terminal opened with 'Run as adm"),
    "refused though elevated": (fail(Call.START, 5), r"StartTrace: .*\(5\); this process is elevated, so another"),
    "a name that is taken": (fail(Call.START, 183), r"StartTrace: .*\(183\); a session of this name exists"),
    "a blocked driver": (fail(Call.START, 1275), r"StartTrace: .*\(1275\); Windows blocks the driver"),
    "smart app control": (fail(Call.START, 4551), r"StartTrace: .*\(4551\); Smart App Control"),
    "a bad signature": (fail(Call.START, 577), r"StartTrace: .*\(577\); Windows does not trust the signature"),
    "too many sessions": (fail(Call.START, 1450), "StartTrace: the limit of sessions is reached"),
    "no such path": (fail(Call.START, 3), r"StartTrace: .*\(3\); a folder of the trace file's path"),
    "a setting refused": (fail(Call.START, 87), r"StartTrace: .*\(87\); this Windows does not support a setting"),
    "the provider refused": (fail(Call.ENABLE, 87), r"EnableTraceEx2: .*\(87\); this Windows does not"),
    "too many of the provider": (fail(Call.ENABLE, 1450), "EnableTraceEx2: the limit of sessions is reached"),
    "opening refused": (fail(Call.OPEN, 5), r"OpenTrace: .*\(5\); this process is elevated"),
    "reading refused": (fail(Call.PROCESS, 5), r"ProcessTrace: .*\(5\); this process is elevated"),
    "an unknown error": (fail(Call.PROCESS, 1117), r"ProcessTrace: .*\(1117\)"),
    "no provider": (
        put(Setting.KERNEL_PROCESS_REGISTERED, 0),
        "provider: .* is not registered; use .*--kernel",
    ),
    "no events": (put(Setting.ACTIVITY, 0), "the session runs, but no event comes, not even after a flush"),
    "no creators": (
        put(Setting.ACTIVITY, 2),
        r"the start of a process names PID 4294967295 TID \d+ as its creator",
    ),
    "a logger that hangs": (put(Setting.LOGGER_DELAY, NEVER_DRAINED), "no event comes, .*, until it is stopped"),
    "losses": (put(Setting.ONE_STREAM_LIMIT, 2), "was not reported, though other events came"),
    "windows 7": (put(Setting.BUILD, 7601), r"system_logger: .*StartTrace: .*\(87\); .* needs Windows 8"),
}


@pytest.mark.parametrize("state", BROKEN)
def test_the_verdict_names_the_cause_and_the_report_can_be_scanned(machine, run, tmp_path, state):
    bring_about, cause = BROKEN[state]
    bring_about(machine)
    report = tmp_path / "report.zip"
    status, found, _ = doctor(run, "--report", report)
    assert status == 1
    result, words = found["verdict"]
    assert result == "failed"
    assert re.search(cause, words), words
    with zipfile.ZipFile(report) as archive:
        assert words in archive.read("doctor.txt").decode()
        assert set(archive.namelist()) == {"doctor.txt", "doctor.json", "log.txt", "recording.etl"}
    assert main(["scan", str(report)]) in {0, 3}


RESTRICTED = {
    "milliseconds refused": (
        put(Setting.MILLISECOND_FLUSH, FlushFlag.REFUSED),
        r"without the flush timer in milliseconds \(StartTrace refused it\)",
    ),
    "milliseconds ignored": (put(Setting.MILLISECOND_FLUSH, FlushFlag.IGNORED), r"late by up to [\d,]+ ms"),
    "one refusal": (lambda machine: machine.fail(Call.ENABLE, 87, 1), "without the event-id filter"),
    "no list of processes": (
        put(Setting.CAPTURE_STATE_FROM, 99_999),
        "without the list of running processes, which did not come",
    ),
}


@pytest.mark.parametrize("state", RESTRICTED)
def test_what_a_monitor_can_bear_is_a_warning_with_its_cause(machine, run, state):
    bring_about, cause = RESTRICTED[state]
    bring_about(machine)
    status, found, _ = doctor(run)
    assert status == 0
    result, words = found["verdict"]
    assert result == "warning"
    assert re.search(cause, words), words


def test_a_machine_with_more_sessions_than_most_have_is_well_and_all_are_seen(monkeypatch):
    class Advapi32:
        def QueryAllTracesW(self, tables, room, count):  # noqa: N802 (Windows' name)
            count._obj.value = 70
            for number, table in enumerate(tables[:70]):
                properties = EVENT_TRACE_PROPERTIES.from_address(table)
                name = ctypes.create_unicode_buffer(f"session {number}")
                ctypes.memmove(table + properties.LoggerNameOffset, name, ctypes.sizeof(name))
            return 0 if room >= 70 else 234

        def TraceQueryInformation(self, _session, what, answer, *_sizes):  # noqa: N802
            assert what == TRACE_MAX_LOGGERS_QUERY
            answer._obj.value = 128
            return 0

    monkeypatch.setattr(tracing, "advapi32", Advapi32)
    assert sessions.names() == [f"session {number}" for number in range(70)]
    found = next(finding for finding in Doctor().findings() if finding.what == "sessions")
    assert (found.result, found.words) == (CheckResult.OK, "70 of 128 are in use")


def test_an_orphaned_session_is_a_warning(machine, run):  # noqa: ARG001
    dead = subprocess.Popen((sys.executable, "-c", ""), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    dead.communicate()
    name = name_of(Owner("monitor", dead.pid, 1_700_000_000_000))
    Session(name, SessionConfig()).start()
    status, found, _ = doctor(run)
    assert status == 0
    assert found["orphaned"][0] == "warning"
    assert name in found["orphaned"][1]


# -- the report


def test_the_report_of_a_sound_machine_has_versions_settings_log_and_a_recording(machine, run, tmp_path):
    report = tmp_path / "report.zip"
    status, found, errors = doctor(run, "--report", report)
    assert status == 0
    assert str(report) in errors[-1]
    with zipfile.ZipFile(report) as archive:
        details = json.loads(archive.read("doctor.json"))
        log = archive.read("log.txt").decode()
        text = archive.read("doctor.txt").decode()
    assert {each["what"] for each in details["sessions"]} == KINDS
    assert all(each["settings"]["buffer_kib"] == 256 and each["events"] > 0 for each in details["sessions"])
    assert details["elevated"] is True
    assert details["packages"]["pywintrace"]
    assert "recorded, SessionStatus(events_lost=0" in log
    assert found["verdict"][1] in text
    status, _, errors = run("scan", report).end()
    assert status == 0, errors
    assert machine.sessions() == []


@pytest.mark.parametrize("asked", [(), ("--command-lines",), ("--command-lines", "--users")], ids=str)
def test_command_lines_are_packed_only_where_asked_for(machine, run, tmp_path, asked):  # noqa: ARG001
    report = tmp_path / "report.zip"
    doctor(run, "--report", report, *asked)
    status, rows, _ = run("events", report).end()
    assert status == 0
    assert any("command_line" in json.loads(row) for row in rows) == ("--command-lines" in asked)


def test_a_report_that_cannot_be_written_is_an_error(machine, run, tmp_path):  # noqa: ARG001
    status, _, errors = run("doctor", "--report", tmp_path / "no" / "report.zip").end()
    assert status == 1
    assert "report.zip" in errors[-1]
