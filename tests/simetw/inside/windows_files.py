"""Sessions that write a file: what is in it, read by the project's own reader."""

import subprocess
import sys

import pytest

from etwdetect.core.raw import KERNEL_PROCESS, PROCESS
from etwdetect.sources.etl.reader import Trace
from etwdetect.sources.etl.records import hook_ids
from etwdetect.sources.etl.walk import Wanted
from parity_tests.simulators.packed_events import SimProcess
from parity_tests.simulators.simetw import Setting
from tests.simetw.inside.tracing import (
    FLUSH,
    REAL_TIME,
    STOP,
    SYSTEM_LOGGER,
    consuming,
    control,
    enable,
    query,
    start,
    thread_start,
    tid_of,
)

SEQUENTIAL = 1
RECORD, BUFFER_HEADER = 152, 72
IN_4_KB = (4096 - BUFFER_HEADER) // RECORD


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a trace.etl"


def recording(path, **values):
    error, handle, _ = start("File", file=str(path), **{"LogFileMode": SEQUENTIAL, **values})
    assert error == 0
    assert enable(handle) == 0


def stop():
    error, properties = control("File", STOP)
    assert error == 0
    return properties


def scanned(*paths):
    arguments = "-m", "etwdetect", "scan", "--format", "classic", *map(str, paths)
    done = subprocess.run(
        (sys.executable, *arguments), stdin=subprocess.PIPE, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout.splitlines(), done.stderr


def records(path, provider):
    """The events of a provider or class in the file."""
    hooks = hook_ids(provider, frozenset(range(256)))
    with path.open("rb") as file:
        trace = Trace(file, "a trace")
        found = list(trace.records(Wanted(hooks, (provider,))))
    assert trace.damages.count == 0
    return found


def header_of(path):
    with path.open("rb") as file:
        return Trace(file, "a trace").header


def test_the_file_is_a_trace_that_scan_reads(machine, path):
    recording(path)
    machine.log([thread_start(tid) for tid in range(700, 1700)], cpus=lambda event: event.payload[4] % 2)
    properties = stop()
    status, lines, errors = scanned(path)
    assert status == 0, errors
    assert len(lines) == 1000
    assert lines[0].endswith("Remote Thread from PID: 10 TID: 11 -> PID: 20 TID: 700")
    assert properties.file == str(path)


def test_the_header_is_finished_when_the_session_stops(machine, path):
    machine.set(Setting.CPUS, 6)
    machine.set(Setting.BUILD, 22621)
    recording(path, BufferSize=128)
    machine.log([thread_start(1)])
    assert not header_of(path).finalised
    stop()
    header = header_of(path)
    assert (header.cpus, header.build, header.buffer_size, header.pointer_size) == (6, 22621, 131_072, 8)
    assert (header.buffers_written, header.events_lost, header.clock) == (2, 0, 1)
    assert header.start_time <= header.end_time


def test_what_is_flushed_is_in_the_file_while_the_session_runs(machine, path):
    recording(path)
    machine.log([thread_start(1)])
    assert scanned(path)[1] == []
    assert control("File", FLUSH)[0] == 0
    assert len(scanned(path)[1]) == 1


@pytest.mark.parametrize("clock", [1, 2, 3])
def test_times_in_the_file_are_right_whatever_the_clock(machine, path, clock):
    given = 134_000_000_000_000_000
    recording(path, clock=clock)
    machine.log([thread_start(1, given)])
    stop()
    assert [abs(event.time - given) <= 1 for event in records(path, KERNEL_PROCESS)] == [True]


def test_a_session_can_write_a_file_and_be_read_in_real_time(machine, path):
    recording(path, LogFileMode=SEQUENTIAL | REAL_TIME)
    with consuming("File") as consumer:
        machine.log([thread_start(5)])
        assert [tid_of(seen) for seen in consumer.wait_for(1)] == [5]
        stop()
    assert len(scanned(path)[1]) == 1


def test_a_system_logger_s_file_lists_the_processes(machine, path):
    machine.set_processes(
        [SimProcess(4, "System"), SimProcess(500, r"C:\a\notepad.exe", command_line="notepad b")]
    )
    recording(path, LogFileMode=SEQUENTIAL | SYSTEM_LOGGER, EnableFlags=3)
    stop()
    assert [event.opcode for event in records(path, PROCESS)] == [3, 3, 4, 4]
    assert b"n\0o\0t\0e\0p\0a\0d\0 \0b\0" in records(path, PROCESS)[1].payload


def test_buffers_that_the_disk_does_not_take_are_lost_and_counted(machine, path):
    recording(path, BufferSize=4)
    machine.set(Setting.DISK_FULL, 1)
    machine.log([thread_start(tid) for tid in range(IN_4_KB * 3)])
    control("File", FLUSH)
    assert query("File").LogBuffersLost == 3
    machine.set(Setting.DISK_FULL, 0)
    stop()
    assert header_of(path).buffers_lost == 3


def test_a_file_stays_below_its_largest_size(machine, path):
    recording(path, BufferSize=64, MaximumFileSize=1)
    machine.log([thread_start(tid) for tid in range(20_000)])
    assert stop().fields.LogBuffersLost > 0
    assert path.stat().st_size <= 1 << 20


def test_a_file_in_a_folder_that_is_not_there_is_refused(machine, tmp_path):
    assert start("File", file=str(tmp_path / "none" / "a.etl"), LogFileMode=SEQUENTIAL)[0] == 3
    assert machine.sessions() == []


def test_two_sessions_do_not_write_one_file(machine, path):
    recording(path)
    assert start("Another", file=str(path), LogFileMode=SEQUENTIAL)[0] == 32
    assert len(machine.sessions()) == 1


def test_a_session_needs_a_file_or_real_time(machine):
    assert start("Neither", LogFileMode=SEQUENTIAL)[0] == 161  # ERROR_BAD_PATHNAME
    assert machine.sessions() == []
