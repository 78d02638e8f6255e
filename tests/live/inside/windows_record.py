"""`etwdetect record` as a user starts it."""

import time

import pytest

from etwdetect.core.events import ImageLoad, ThreadStart
from etwdetect.core.raw import THREAD
from etwdetect.live.settings import BUFFER_KIB, FLUSH_MILLISECONDS
from etwdetect.sources.decode.encode import encode
from parity_tests.simulators.packed_events import SimProcess, classic
from parity_tests.simulators.simetw import Call, Setting
from tests.running import ids, until

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
    assert "longer than 259 characters" in errors[-1]
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


@pytest.mark.parametrize(("error", "status"), [(5, 1), (1450, 1), (31, 1)])
def test_a_recording_that_cannot_begin_says_why_in_one_line(machine, run, tmp_path, error, status):
    machine.fail(Call.START, error)
    ended, lines, errors = run("record", tmp_path / "machine.etl").end()
    assert (ended, lines, len(errors)) == (status, [], 1)
    assert machine.sessions() == []


def test_a_recording_whose_provider_cannot_be_had_leaves_no_file(machine, run, tmp_path):
    machine.fail(Call.ENABLE, 31)
    assert run("record", tmp_path / "machine.etl", "--kernel-process").end()[0] == 1
    assert list(tmp_path.iterdir()) == []
