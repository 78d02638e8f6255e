"""A file that is not whole says so, and every record of it carries the evidence; where it begins is measured."""

import io
import json
from pathlib import Path

import pytest

from etwdetect.core.events import ProcessRundown, ProcessStart, ThreadStart
from etwdetect.offline import Scan, summary
from etwdetect.sources.decode.encode import encode
from etwdetect.sources.etl import compression
from etwdetect.sources.etl.reader import Trace
from etwdetect.sources.etl.walk import Wanted
from etwdetect.sources.etl.writer import TraceOptions, TraceWriter
from tests.offline.test_doubles import by_kernel_logger
from tests.traces_by_writer import SECOND, START, attack, program_start, write_trace

SAMPLES = Path(__file__).parents[2] / "samples"
MODE = 0x48 + 32 + 0x20
"""Where LogFileMode stands in a file: behind the buffer's and the record's header."""
SEQUENTIAL, CIRCULAR, APPEND, NEW_FILE, BUFFERING = 0x1, 0x2, 0x4, 0x8, 0x400


def buffers_of(data):
    at, found = 0, []
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "little")
        found.append(data[at : at + size])
        at += size
    return found


def read(buffers):
    """Return how many buffers are missing and doubled, of how many records in all."""
    trace = Trace(io.BytesIO(b"".join(buffers)), "a.etl")
    list(trace.records(Wanted((), ())))
    return trace.missing, trace.doubled, trace.events_read


def check_every_buffer(data, every=1):
    buffers = buffers_of(data)
    count, (_, _, records) = len(buffers), read(buffers)
    assert read(buffers) == (0, 0, records)
    for at in range(1, count, every):
        before, this, behind = buffers[:at], buffers[at], buffers[at + 1 :]
        assert read(before)[0] == count - at, "cut"
        assert read([*before, *behind])[0] == 1, "removed"
        assert read([*before, this, *behind, this]) == (0, 1, records), "doubled"
        assert read([*before, bytes(len(this)), *behind])[0] >= 1, "zeroed"
        assert read([*before, *behind[:1], this, *behind[1:]]) == (0, 0, records), "swapped"


@pytest.mark.parametrize("method", [0, compression.LZNT1, compression.XPRESS, compression.XPRESS_HUFFMAN])
def test_every_buffer_that_is_cut_off_removed_doubled_zeroed_or_moved_is_noticed(tmp_path, method):
    path = write_trace(tmp_path / "a.etl", attack() * 60, cpus=3, method=method, buffer_size=4096)
    check_every_buffer(path.read_bytes())


@pytest.mark.parametrize("sample", sorted(SAMPLES.glob("*.etl")), ids=lambda path: path.name)
def test_so_it_is_in_the_samples(sample):
    check_every_buffer(sample.read_bytes())


@pytest.mark.slow
def test_so_it_is_in_recordings_of_windows(recordings):
    checked = 0
    for path in sorted(recordings.glob("*.etl")):
        data = path.read_bytes()
        if Trace(io.BytesIO(data), path.name).header.buffers_expected and len(buffers_of(data)) > 1:
            check_every_buffer(data, 1 + len(data) // 30_000)
            checked += 1
    assert checked >= 5


def test_missing_buffers_are_told_with_status_3_and_are_evidence_on_every_record(etwdetect, tmp_path):
    path = write_trace(tmp_path / "a.etl", attack() * 60, buffer_size=4096)
    whole = buffers_of(path.read_bytes())
    path.write_bytes(b"".join(whole[:-2]))
    done = etwdetect("scan", path)
    assert done.status == 3
    assert f"a.etl: {len(whole) - 2} of {len(whole)} buffers are there" in done.err
    assert done.out.count("buffers-lost:2") == len(done.out.splitlines()) > 0
    assert etwdetect("scan", path, "--exit-code").status == 11


def test_the_events_of_a_file_that_lacks_buffers_have_the_same_evidence(etwdetect, tmp_path):
    path = write_trace(tmp_path / "a.etl", attack() * 60, buffer_size=4096)
    path.write_bytes(b"".join(buffers_of(path.read_bytes())[:-1]))
    etwdetect("events", path, "-o", tmp_path / "a.jsonl")
    arguments = ("--format", "json")
    assert etwdetect("scan", tmp_path / "a.jsonl", *arguments).out == etwdetect("scan", path, *arguments).out != ""


@pytest.mark.parametrize("mode", [CIRCULAR, SEQUENTIAL | APPEND, SEQUENTIAL | NEW_FILE, BUFFERING])
def test_where_the_count_is_not_that_of_one_file_it_says_nothing(tmp_path, mode):
    data = bytearray(write_trace(tmp_path / "a.etl", attack() * 60, buffer_size=4096).read_bytes())
    data[MODE : MODE + 4] = mode.to_bytes(4, "little")
    assert read(buffers_of(bytes(data))[:-1])[0] == 0


def test_an_unfinalised_file_has_no_count(tmp_path):
    path = write_trace(tmp_path / "a.etl", attack() * 60, buffer_size=4096, unfinalised=True)
    assert read(buffers_of(path.read_bytes())[:-1])[0] == 0


# -- where a recording begins


def scanned(raws, mode=SEQUENTIAL, cpus=1):
    file = io.BytesIO()
    with TraceWriter(file, TraceOptions(START, cpus=cpus)) as writer:
        for raw, cpu in raws:
            writer.write(raw, cpu)
    data = bytearray(file.getvalue())
    data[MODE : MODE + 4] = mode.to_bytes(4, "little")
    scan = Scan([Trace(io.BytesIO(bytes(data)), "a.etl")])
    return [hit.thread for hit in scan.detections()]


def remote(time, tid=21, pid=20):
    return encode(ThreadStart(time, 10, 11, pid, tid, 0x7FF0))


def own(time, tid=31):
    return encode(ThreadStart(time, 30, 31, 30, tid, 0x7FF0))


HOUR = START + 3600 * SECOND


@pytest.mark.parametrize(
    ("after", "expected"), [(0, ("session-start",)), (SECOND, ("session-start",)), (SECOND + 1, ())]
)
def test_the_first_event_begins_a_recording_not_its_header(after, expected):
    (hit,) = scanned([(own(HOUR), 0), (remote(HOUR + after), 0)])
    assert hit.evidence == expected


def test_a_provider_that_is_switched_on_later_begins_then():
    later = HOUR + 60 * SECOND
    raws = [own(HOUR), by_kernel_logger(own(later), 0), remote(later + 5), remote(later + 2 * SECOND, 22)]
    assert [hit.evidence for hit in scanned([(raw, 0) for raw in raws])] == [("session-start",), ()]


def test_a_target_that_was_seen_to_start_is_in_doubt_at_no_beginning():
    later = HOUR + 60 * SECOND
    born = [encode(event) for event in program_start(HOUR + 5, 20, 23, creator=(10, 11))]
    raws = [own(HOUR), *born, by_kernel_logger(own(later), 0), remote(later + 5)]
    assert [hit.evidence for hit in scanned([(raw, 0) for raw in raws])] == [()]


@pytest.mark.parametrize("mode", [CIRCULAR, BUFFERING])
def test_a_ring_is_whole_from_the_latest_beginning_of_a_cpu(mode):
    late = HOUR + 60 * SECOND
    raws = [(own(HOUR), 0), (remote(HOUR + 30 * SECOND), 0), (own(late), 1), (remote(late + 5, 22), 0)]
    raws += [(remote(late + 2 * SECOND, 23), 1)]
    assert [hit.evidence for hit in scanned(raws, mode, cpus=2)] == [("session-start",)] * 2 + [()]
    assert [hit.evidence for hit in scanned(raws, cpus=2)] == [()] * 3


def test_a_listed_target_is_older_where_its_creation_is():
    older = encode(ProcessRundown(HOUR, 20, create_time=HOUR - 2 * SECOND))
    young = encode(ProcessRundown(HOUR, 20, create_time=HOUR - SECOND // 2))
    assert [scanned([(listed, 0), (remote(HOUR + 5), 0)])[0].evidence for listed in (older, young)] == [
        (),
        ("session-start",),
    ]


def test_events_as_data_have_the_evidence_of_every_beginning(etwdetect, tmp_path):
    path = tmp_path / "a.etl"
    later = HOUR + 60 * SECOND
    with path.open("w+b") as file, TraceWriter(file, TraceOptions(START)) as writer:
        for raw in (own(HOUR), by_kernel_logger(own(later), 0), remote(later + 5), remote(later + 2 * SECOND, 22)):
            writer.write(raw)
    etwdetect("events", path, "-o", tmp_path / "a.jsonl")
    first, again = (etwdetect("scan", each, "--format", "json").out for each in (path, tmp_path / "a.jsonl"))
    assert first == again
    assert first.count("session-start") == 1


@pytest.mark.parametrize("time", [-1, 1 << 62])
def test_a_header_without_a_time_of_a_calendar_spoils_no_row_of_the_events(etwdetect, tmp_path, time):
    path = tmp_path / "a.etl"
    data = bytearray(write_trace(path, []).read_bytes())
    at = data.index(START.to_bytes(8, "little"))
    data[at : at + 8] = time.to_bytes(8, "little", signed=True)
    path.write_bytes(data)
    etwdetect("events", path, "-o", tmp_path / "a.jsonl")
    done = etwdetect("scan", tmp_path / "a.jsonl")
    assert "left out" not in done.err
    assert "0 remote threads in 0 thread starts, 1 event" in done.err


# -- several recordings in one file


def test_a_second_header_begins_a_recording_with_its_own_clock_and_names(etwdetect, tmp_path):
    day = 24 * 3600 * SECOND
    path = write_trace(tmp_path / "a.etl", attack(target="monday.exe"))
    with (tmp_path / "b.etl").open("w+b") as file:
        with TraceWriter(file, TraceOptions(START + day)) as writer:
            for event in attack(START + day + 10 * SECOND, target="tuesday.exe"):
                writer.write(encode(event._replace(time=max(event.time, START + day))))
        file.seek(0)
        path.write_bytes(path.read_bytes() + file.read())
    done = etwdetect("scan", path, "--utc")
    lines = done.out.splitlines()
    assert [line[:10] for line in lines] == ["2020-05-12", "2020-05-13"]
    assert lines[0].endswith("  evil.exe -> monday.exe  [second-header]")
    assert lines[1].endswith("  evil.exe -> tuesday.exe  [second-header]")
    assert "2 logfile headers: each begins a recording of its own" in done.err
    etwdetect("events", path, "-o", tmp_path / "a.jsonl")
    again = etwdetect("scan", tmp_path / "a.jsonl", "--format", "json").out
    assert again == etwdetect("scan", path, "--format", "json").out


def test_a_copy_of_the_header_begins_nothing(tmp_path):
    data = write_trace(tmp_path / "a.etl", attack() * 20, buffer_size=4096).read_bytes()
    buffers = buffers_of(data)
    scan = Scan([Trace(io.BytesIO(b"".join([*buffers[:2], buffers[0], *buffers[2:]])), "a.etl")])
    whole = Scan([Trace(io.BytesIO(data), "a.etl")])
    assert len(list(scan.detections())) == len(list(whole.detections()))
    assert (scan.result().recordings, scan.result().doubled_buffers) == (1, 1)


def test_no_more_than_64_recordings_of_a_file_are_read():
    files = []
    for number in range(70):
        file = io.BytesIO()
        with TraceWriter(file, TraceOptions(START + number * SECOND, buffer_size=1024)) as writer:
            writer.write(encode(ProcessStart(START + number * SECOND, 1, 2, 3)))
        files.append(file.getvalue())
    scan = Scan([Trace(io.BytesIO(b"".join(files)), "a.etl")])
    assert list(scan.detections()) == []
    assert scan.result().recordings == 64
    assert any("more than 64 recordings" in line for line in summary.warnings(scan.result()))


# -- contradictions


def test_a_thread_that_a_second_start_of_its_process_hides_is_named_with_status_3(etwdetect, tmp_path):
    hidden = [
        *program_start(START + 5 * SECOND, 300, 301),
        ProcessStart(START + 6 * SECOND, 100, 101, 300, 100),
        ThreadStart(START + 7 * SECOND, 100, 101, 300, 666),
    ]
    done = etwdetect("scan", write_trace(tmp_path / "a.etl", [*attack()[:2], *hidden]))
    assert (done.status, done.out) == (3, "")
    assert "thread 666 in process 300, made by process 100 at 2020-05-12T00:00:07.000Z, is first only" in done.err


def test_joined_files_of_two_machines_are_told_and_evidence(etwdetect, tmp_path):
    for number, host in enumerate(("PC1", "PC2")):
        path = write_trace(tmp_path / "t.etl", attack(START + (10 + number) * SECOND))
        etwdetect("events", path, "-o", tmp_path / f"{number}.jsonl")
        with (tmp_path / f"{number}.jsonl").open("a") as file:
            row = {"schema_version": 1, "host": str(path), "recording": "", "seq": 99, "kind": "MachineName"}
            row["recording"] = json.loads((tmp_path / f"{number}.jsonl").read_text().splitlines()[0])["recording"]
            file.write(json.dumps(row | {"time": START, "name": host}) + "\n")
    done = etwdetect("scan", "--join", tmp_path / "0.jsonl", tmp_path / "1.jsonl")
    assert done.status == 3
    assert "2 machines are named in it" in done.err
    assert done.out.count("[several-hosts]") == len(done.out.splitlines()) == 2
