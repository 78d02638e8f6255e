"""`etwdetect record` and `etwdetect doctor` as a user starts them."""

import ctypes
import re
import subprocess
import sys
import time

import pytest
from etw.evntrace import EVENT_TRACE_PROPERTIES

from etwdetect.core.events import ImageLoad, ThreadStart
from etwdetect.core.raw import THREAD
from etwdetect.live import session
from etwdetect.live.doctor import CheckResult, findings
from etwdetect.live.ownership import Owner, name_of
from etwdetect.live.session import BUFFER_KIB, FLUSH_MILLISECONDS, Session, SessionConfig
from etwdetect.sources.decode.encode import encode
from etwdetect.windows import tracing
from parity_tests.simulators.packed_events import SimProcess, classic
from parity_tests.simulators.simetw import Call, Setting
from tests.running import ids, until

TRACE_MAX_LOGGERS_QUERY = 19
ATTACKER, VICTIM = 400_004, 400_008
PROCESSES = [
    SimProcess(ATTACKER, r"\Device\HarddiskVolume3\evil.exe", command_line="evil.exe --now"),
    SimProcess(VICTIM, r"\Device\HarddiskVolume3\victim.exe", threads=((7, 0x1000),)),
]


def kernel_thread(tid):
    values = {"ProcessId": VICTIM, "TThreadId": tid, "Win32StartAddr": 0x1000}
    return classic(THREAD, 1, values)._replace(pid=ATTACKER, tid=400_012)


@pytest.fixture
def recording(machine, run):
    """Returns a function that starts a recording and waits until it records."""

    def start(*arguments):
        started = run("record", *arguments)
        until(
            lambda: (
                any(each.enabled_providers or each.enable_flags for each in machine.sessions())
                or started.process.poll() is not None
            ),
            "a session that gets events",
        )
        return started

    return start


def test_a_recording_of_the_kernel_logger_tells_everything_elsewhere(machine, run, recording, tmp_path):
    machine.set_processes(PROCESSES)
    file = tmp_path / "machine.etl"
    recorder = recording(file)
    machine.log([kernel_thread(1)])
    status, lines, errors = recorder.stop()
    assert (status, lines) == (0, [])
    assert errors[-1].endswith("0 events and 0 buffers lost")
    assert machine.sessions() == []
    status, lines, _ = run("scan", file, "--exit-code").end()
    assert status == 10
    (line,) = lines
    assert ids(line)[:4] == (ATTACKER, 400_012, VICTIM, 1)
    assert "evil.exe -> victim.exe" in line


def test_a_recording_of_the_provider_can_be_scanned_too(machine, run, recording, tmp_path):
    file = tmp_path / "machine.etl"
    recorder = recording(file, "--kernel-process")
    (session,) = machine.sessions()
    assert session.log_file.endswith("machine.etl")
    machine.log([encode(ThreadStart(0, ATTACKER, 400_012, VICTIM, 1)), encode(ImageLoad(0, VICTIM, 1, 2))])
    assert recorder.stop()[0] == 0
    assert len(run("scan", file).end()[1]) == 1


def test_a_recording_of_few_events_is_no_large_file(machine, recording, tmp_path):
    file = tmp_path / "machine.etl"
    recorder = recording(file, "--kernel-process")
    for number in range(10):
        machine.log([encode(ThreadStart(0, ATTACKER, 400_012, VICTIM, number))])
        time.sleep(2 * FLUSH_MILLISECONDS / 1000)
    assert recorder.stop()[0] == 0
    cpus = 2
    assert file.stat().st_size <= (1 + cpus) * BUFFER_KIB * 1024  # the first has the header


def test_a_file_that_is_there_is_not_overwritten(run, tmp_path):
    file = tmp_path / "machine.etl"
    file.write_bytes(b"precious")
    assert run("record", file).end()[0] == 2
    assert file.read_bytes() == b"precious"


def test_a_path_that_windows_has_no_room_for_is_refused(machine, run, tmp_path):
    status, _, errors = run("record", tmp_path.joinpath(*["x" * 200] * 6)).end()
    assert status == 2
    assert "longer than 1,023 characters" in errors[-1]
    assert machine.sessions() == []


def test_a_recording_that_somebody_stops_ends_with_status_3(machine, recording, tmp_path):
    recorder = recording(tmp_path / "machine.etl")
    machine.stop_session(machine.sessions()[0].name)
    status, _, errors = recorder.end()
    assert status == 3
    assert "was stopped by another program" in errors[0]


def test_a_full_disk_is_told_as_a_loss(machine, recording, tmp_path):
    recorder = recording(tmp_path / "machine.etl", "--kernel-process")
    machine.set(Setting.DISK_FULL, 1)
    machine.repeat([encode(ThreadStart(0, ATTACKER, 1, VICTIM, 1))], 20_000)
    status, _, errors = recorder.stop()
    assert status == 3
    assert not errors[-1].endswith("; 0 events and 0 buffers lost")


@pytest.mark.parametrize(("error", "status"), [(5, 4), (1450, 1), (31, 1)])
def test_a_recording_that_cannot_begin_says_why_in_one_line(machine, run, tmp_path, error, status):
    machine.fail(Call.START, error)
    ended, lines, errors = run("record", tmp_path / "machine.etl").end()
    assert (ended, lines, len(errors)) == (status, [], 1)
    assert machine.sessions() == []


def test_a_recording_whose_provider_cannot_be_had_leaves_no_file(machine, run, tmp_path):
    machine.fail(Call.ENABLE, 31)
    assert run("record", tmp_path / "machine.etl", "--kernel-process").end()[0] == 1
    assert list(tmp_path.iterdir()) == []


# -- doctor


def doctor(run):
    status, lines, errors = run("doctor").end()
    assert errors == []
    found = [re.fullmatch(r"(ok|warning|failed) +(\w+): (.+)", line).groups() for line in lines]
    return status, {what: (verdict, words) for verdict, what, words in found}


def test_a_sound_machine_is_well(machine, run):
    status, found = doctor(run)
    assert status == 0
    assert set(found) == {
        "windows",
        "pywintrace",
        "elevation",
        "sessions",
        "orphaned",
        "start",
        "provider",
        "driver",
    }
    assert machine.sessions() == []
    assert found["sessions"] == ("ok", "0 of 64 are in use")
    assert found["provider"][0] == "ok"
    assert "ThreadStart version 1" in found["provider"][1]


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
    assert session.names() == [f"session {number}" for number in range(70)]
    (sessions,) = [finding for finding in findings() if finding.what == "sessions"]
    assert (sessions.result, sessions.words) == (CheckResult.OK, "70 of 128 are in use")


def test_a_provider_that_is_not_registered_has_failed(machine, run):
    machine.set(Setting.KERNEL_PROCESS_REGISTERED, 0)
    status, found = doctor(run)
    assert status == 1
    assert found["provider"][0] == "failed"
    assert "--kernel-logger" in found["provider"][1]


def test_an_orphaned_session_is_a_warning(machine, run):  # noqa: ARG001
    dead = subprocess.Popen((sys.executable, "-c", ""), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    dead.communicate()
    name = name_of(Owner("monitor", dead.pid, 1_700_000_000_000))
    Session(name, SessionConfig()).start()
    status, found = doctor(run)
    assert status == 0
    assert found["orphaned"][0] == "warning"
    assert name in found["orphaned"][1]


def test_who_is_not_elevated_is_told_what_fails(machine, run):
    machine.set(Setting.ELEVATED, 0)
    status, found = doctor(run)
    assert status == 1
    assert found["start"][0] == "failed"
    assert "Run as administrator" in found["start"][1]
