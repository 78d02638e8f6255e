"""Files of events, JSON lines and Parquet: what is in them, also when they are damaged."""

import io
import json

import pytest

from etwdetect.core.errors import NotATraceError
from etwdetect.core.events import Loss, ProcessStart, ThreadStart, ThreadStop
from etwdetect.offline import Scan
from etwdetect.offline.inputs import find_inputs
from etwdetect.sources.eventdata import jsonl, numbers, trace
from etwdetect.sources.eventdata.jsonl import MOST_LINE, JsonLinesWriter
from etwdetect.sources.eventdata.parquet import ParquetWriter
from etwdetect.sources.eventdata.schema import Recording, RecordingStart, to_row

T0 = 132_337_152_000_000_000
SECOND = 10_000_000
ONE, TWO = Recording("HOST1", "a"), Recording("HOST2", "b")
REMOTE = ThreadStart(T0 + 60 * SECOND, 10, 11, 20, 21, 0x7FF0)


def write(path, *recordings):
    """Write (recording, events) to *path*, each behind its start."""
    with path.open("wb") as file:
        text = io.TextIOWrapper(file, "utf-8", newline="")
        writer = JsonLinesWriter(text) if path.suffix == ".jsonl" else ParquetWriter(file)
        for recording, events in recordings:
            writer.begin(recording, RecordingStart(T0, T0))
            for event in events:
                writer.write(event)
        writer.close()
        text.flush()
        text.detach()
    return path


def scans(path):
    result = []
    for found in find_inputs(path):
        with found.open() as opened:
            scan = Scan([opened])
            result.append((found.name, [hit.thread for hit in scan.detections()], scan))
    return result


def only(path):
    ((_, hits, scan),) = scans(path)
    return hits, scan


both = pytest.mark.parametrize("name", ["e.jsonl", "e.parquet"])


@both
def test_each_recording_of_a_file_is_judged_alone(tmp_path, name):
    path = write(tmp_path / name, (ONE, [ProcessStart(T0 + 1, 1, 2, 20)]), (TWO, [REMOTE]))
    assert [(each, [hit.tid for hit in hits]) for each, hits, _ in scans(path)] == [
        (f"{path}!HOST1/a", []),
        (f"{path}!HOST2/b", [21]),
    ]


@both
def test_a_file_with_one_recording_is_called_by_its_own_name(tmp_path, name):
    ((called, _, _),) = scans(write(tmp_path / name, (ONE, [REMOTE])))
    assert called == str(tmp_path / name)


@both
def test_a_loss_marks_the_hits_that_follow_it_and_is_counted(tmp_path, name):
    later = REMOTE._replace(time=REMOTE.time + 2)
    hits, scan = only(write(tmp_path / name, (ONE, [REMOTE, Loss(REMOTE.time + 1, 3, 1), later])))
    assert [hit.evidence for hit in hits] == [(), ("events-lost:3", "buffers-lost:1")]
    assert (scan.result().events_lost, scan.result().buffers_lost) == (3, 1)


@both
def test_thread_exits_are_passed_over(tmp_path, name):
    hits, scan = only(write(tmp_path / name, (ONE, [ThreadStop(T0, 1, 2), REMOTE])))
    assert (len(hits), scan.result().events_read) == (1, 2)


@both
def test_a_writer_without_a_recording_refuses_events(name):
    writer = JsonLinesWriter(io.StringIO()) if name.endswith("l") else ParquetWriter(io.BytesIO())
    with pytest.raises(ValueError, match="no recording has begun"):
        writer.write(REMOTE)


def test_events_written_at_once_are_written_as_one_by_one(monkeypatch):
    monkeypatch.setattr(jsonl, "_AT_ONCE", 2)
    events = [REMOTE, ThreadStop(T0, 20, 21), Loss(T0, 1), REMOTE._replace(tid=22), REMOTE]
    texts = [io.StringIO(), io.StringIO()]
    for text, at_once in zip(texts, (False, True), strict=True):
        writer = JsonLinesWriter(text)
        writer.begin(ONE, RecordingStart(T0, T0))
        if at_once:
            writer.write_all(events[:4])
            writer.write_all(events[4:])
        else:
            for event in events:
                writer.write(event)
    assert texts[0].getvalue() == texts[1].getvalue()
    assert len(texts[0].getvalue().splitlines()) == 5


def test_rows_of_many_recordings_may_be_interleaved(tmp_path):
    path = tmp_path / "e.jsonl"
    rows = [
        to_row(ONE, 0, RecordingStart(T0, T0)),
        to_row(TWO, 0, RecordingStart(T0, T0)),
        to_row(ONE, 1, ProcessStart(T0 + 1, 1, 2, 20)),
        to_row(TWO, 1, REMOTE),
        to_row(ONE, 2, REMOTE),
        to_row(TWO, 2, REMOTE._replace(tid=22)),
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [[hit.tid for hit in hits] for _, hits, _ in scans(path)] == [[], [21, 22]]


STARTED = [ProcessStart(T0 + 1, 1, 2, 20), ThreadStart(T0 + 2, 1, 2, 20, 22), REMOTE]


@both
def test_the_rows_of_a_recording_that_is_in_the_file_twice_count_once(tmp_path, name):
    hits, scan = only(write(tmp_path / name, (ONE, STARTED), (ONE, STARTED)))
    (file,) = scan.result().files
    assert ([hit.tid for hit in hits], hits[0].evidence, file.repeated) == ([21], (), 4)


@both
def test_rows_of_other_recordings_between_those_that_come_twice_all_count(tmp_path, name):
    path = write(tmp_path / name, (ONE, STARTED), (TWO, STARTED), (ONE, STARTED))
    found = [([hit.tid for hit in hits], scan.result().files[0].repeated) for _, hits, scan in scans(path)]
    assert found == [([21], 4), ([21], 0)]


@pytest.mark.parametrize("order", [(3, 2, 1, 0), (1, 3, 0, 2), (2, 2, 3, 0, 1, 3)])
def test_rows_out_of_their_order_all_count_once(tmp_path, order):
    rows = [to_row(ONE, seq, event) for seq, event in enumerate([RecordingStart(T0, T0), *STARTED])]
    path = tmp_path / "e.jsonl"
    path.write_text("".join(json.dumps(rows[at]) + "\n" for at in order))
    hits, scan = only(path)
    assert [hit.tid for hit in hits] == [21]
    assert scan.result().files[0].repeated == len(order) - 4


def test_rows_numbered_so_far_apart_that_repeats_may_pass_are_told_and_marked(tmp_path, monkeypatch):
    monkeypatch.setattr(numbers, "MOST_PAGES", 1)
    rows = [to_row(ONE, 0, RecordingStart(T0, T0)), to_row(ONE, 5000, STARTED[0]), to_row(ONE, 9000, REMOTE)]
    path = tmp_path / "e.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, rows[2]]))
    hits, scan = only(path)
    assert [hit.evidence for hit in hits] == [("events-lost:1",)]
    ((_, what),) = scan.traces[0].damages.described
    assert what == "its rows are numbered too far apart to tell which of them come twice"


def test_a_recording_without_its_beginning_is_told_and_marked(tmp_path):
    path = tmp_path / "e.jsonl"
    path.write_text(json.dumps(to_row(ONE, 5, REMOTE)) + "\n")
    (hit,), scan = only(path)
    assert hit.evidence == ("events-lost:1",)
    assert scan.traces[0].damages.described == [(0, "the recording's beginning is missing")]


@pytest.mark.parametrize(
    ("bad", "fault"),
    [
        (b"\xff\xfe\n", "a line is not valid JSON: "),
        (b"[1]\n", "a line is not a JSON object"),
        (b"{" * 100_000 + b"\n", "a line is not valid JSON: "),
        (b'{"a":' * 100_000 + b"\n", "a line is not valid JSON: "),
        (b'{"schema_version":1,"host":"HOST1","recording":"a","seq":9}\n', "is of the unknown kind None"),
        (b"1" * 10_000 + b"\n", "a line is not valid JSON: "),
        (b"x" * (MOST_LINE + 9) + b"\n", "a line is longer than 1,048,576 bytes"),
    ],
)
def test_a_bad_line_is_told_with_its_offset_and_costs_only_itself(tmp_path, bad, fault):
    path = write(tmp_path / "e.jsonl", (ONE, [REMOTE]))
    start, event = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(start + bad + event)
    (hit,), scan = only(path)
    ((offset, what),) = scan.traces[0].damages.described
    assert (offset, what.startswith(f"line 2: {fault}"), hit.evidence) == (len(start), True, ("events-lost:1",))


def test_a_file_that_was_cut_short_is_read_up_to_there(tmp_path):
    path = write(tmp_path / "e.jsonl", (ONE, [REMOTE, REMOTE._replace(tid=22)]))
    path.write_bytes(path.read_bytes()[:-10])
    hits, scan = only(path)
    assert [hit.tid for hit in hits] == [21]
    assert [what for _, what in scan.traces[0].damages.described] == [
        "line 3: the last line is truncated; the row is left out"
    ]


def test_a_last_line_without_its_end_is_a_line(tmp_path):
    path = write(tmp_path / "e.jsonl", (ONE, [REMOTE]))
    path.write_bytes(path.read_bytes().rstrip())
    assert len(only(path)[0]) == 1


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("a.jsonl", b'{"schema_version": 3}\n', "is not a file of events: has the schema version 3: a newer"),
        ("a.jsonl", b'{"ProcessId": 2}\n', "is not a file of events: has the schema version None"),
        ("a.jsonl", b"{\n", "is not a file of events: a line is not valid JSON"),
        ("a.parquet", b"PAR1 and more", "is not a readable Parquet file"),
    ],
)
def test_a_file_of_other_things_is_no_trace(tmp_path, name, content, fault):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(NotATraceError, match=fault):
        list(find_inputs(tmp_path / name))


def test_parquet_of_other_things_is_no_trace(tmp_path):
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import parquet  # noqa: PLC0415

    parquet.write_table(pa.table({"a": [1]}), tmp_path / "a.parquet")
    with pytest.raises(NotATraceError, match="it has no column host"):
        list(find_inputs(tmp_path / "a.parquet"))


@pytest.mark.slow
def test_a_damaged_row_group_is_told_and_the_others_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr("etwdetect.sources.eventdata.parquet._BLOCK", 2)
    events = [REMOTE._replace(tid=100 + number) for number in range(7)]
    path = write(tmp_path / "e.parquet", (ONE, events))
    whole = path.read_bytes()
    told = 0
    for at in range(4, len(whole) // 2, 97):
        path.write_bytes(whole[:at] + b"\xaa\x55" + whole[at + 2 :])
        try:
            for _, hits, scan in scans(path):
                told += scan.result().damages > 0
                assert scan.result().damages or len(hits) <= len(events)
        except NotATraceError:
            told += 1
    assert told


def test_in_a_directory_files_of_other_things_are_passed_over(tmp_path):
    (tmp_path / "results.jsonl").write_text('{"SchemaVersion": 2}\n')
    write(tmp_path / "e.jsonl", (ONE, [REMOTE]))
    assert [found.path.name for found in find_inputs(tmp_path)] == ["e.jsonl"]


def test_a_file_of_too_many_recordings_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(trace, "MOST_RECORDINGS", 2)
    path = write(tmp_path / "e.jsonl", *[(Recording("H", str(number)), []) for number in range(3)])
    with pytest.raises(NotATraceError, match="more than 2 recordings; use `etwdetect fleet`"):
        list(find_inputs(path))
