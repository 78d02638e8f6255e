"""etwdetect events, and the scan of what it wrote."""

import gzip
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from etwdetect.sources.etl.writer import TraceOptions, TraceWriter
from tests.conftest import needs_numpy, needs_parquet
from tests.traces_by_writer import SECOND, START, attack, write_trace

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "samples" / "windbg-attach.etl"

both = pytest.mark.parametrize("form", ["jsonl", pytest.param("parquet", marks=needs_parquet)])


def records(etwdetect, *arguments):
    return etwdetect("scan", *arguments, "--format", "json")


@both
def test_the_scan_of_the_events_prints_the_records_of_the_trace(etwdetect, tmp_path, form):
    path = tmp_path / f"events.{form}"
    done = etwdetect("events", SAMPLE, "--format", form, "-o", path)
    assert (done.status, done.out) == (0, "")
    assert records(etwdetect, path).out == records(etwdetect, SAMPLE).out != ""


@pytest.mark.slow
@needs_numpy
@both
def test_the_scan_of_the_events_of_real_traces_prints_their_records(etwdetect, tmp_path, recordings, form):
    path = tmp_path / f"events.{form}"
    traces = sorted(recordings.glob("*.etl"))
    etwdetect("events", *traces, "--format", form, "-o", path)
    assert len(traces) > 5
    assert records(etwdetect, path).out == records(etwdetect, *traces).out
    for trace in traces:
        etwdetect("events", trace, "--format", form, "-o", path)
        again, first = records(etwdetect, path), records(etwdetect, trace)
        assert (again.out, again.status) == (first.out, first.status), trace


def test_losses_and_damage_survive(etwdetect, tmp_path):
    path = write_trace(tmp_path / "a.etl", attack(), events_lost=5, buffers_lost=2)
    with path.open("ab") as file:
        file.write(b"\xaa" * 100)
    done = etwdetect("events", path, "-o", tmp_path / "a.jsonl")
    first, again = records(etwdetect, path), records(etwdetect, tmp_path / "a.jsonl")
    assert json.loads(again.out)["Evidence"] == ["events-lost:6", "buffers-lost:2"]
    assert again.out == first.out
    assert done.status == first.status == again.status == 3
    assert "offset 0x20000" in done.err


@needs_parquet
def test_names_that_are_hostile_survive_both_forms(etwdetect, tmp_path):
    image = "C:\\\ud800\udc00\udfff\x1b[2J\u202e\n,=.exe"
    trace = write_trace(tmp_path / "a.etl", attack(source=image))
    for form in ("jsonl", "parquet"):
        etwdetect("events", trace, "--format", form, "-o", tmp_path / f"a.{form}")
        assert records(etwdetect, tmp_path / f"a.{form}").out == records(etwdetect, trace).out


def test_the_first_row_describes_the_recording_and_all_are_numbered(etwdetect):
    rows = [json.loads(line) for line in etwdetect("events", SAMPLE, "--host", "PC7").out.splitlines()]
    assert rows[0]["kind"] == "RecordingStart"
    assert [row["seq"] for row in rows] == list(range(len(rows)))
    assert {row["host"] for row in rows} == {"PC7"}
    assert len({row["recording"] for row in rows}) == 1
    assert min(row["time"] for row in rows) == rows[0]["time"]


def test_each_trace_is_a_recording_of_its_own_unless_they_are_joined(etwdetect, tmp_path):
    shutil.copy(SAMPLE, tmp_path / "a.etl")
    shutil.copy(SAMPLE, tmp_path / "b.etl")
    for join, count in (((), 2), (("--join",), 1)):
        rows = [
            json.loads(line) for line in etwdetect("events", tmp_path, "--host", "PC7", *join).out.splitlines()
        ]
        assert len({row["recording"] for row in rows}) == count


def trace_with_two_headers(folder):
    """Write a trace that another one was appended to, whose header counts losses."""
    one, two = write_trace(folder / "two.etl", attack()), write_trace(folder / "b.etl", attack(), events_lost=5)
    with one.open("ab") as file:
        file.write(two.read_bytes())
    two.unlink()
    return one


def test_each_recording_of_a_trace_has_a_name_of_its_own(etwdetect, tmp_path):
    out = etwdetect("events", trace_with_two_headers(tmp_path)).out
    starts = [row for row in map(json.loads, out.splitlines()) if row["kind"] == "RecordingStart"]
    assert [row["start_time"] for row in starts] == [START + 1] * 2
    assert len({row["recording"] for row in starts}) == 2


@both
def test_the_scan_of_the_events_of_two_headers_prints_the_records_of_the_trace(etwdetect, tmp_path, form):
    trace, path = trace_with_two_headers(tmp_path), tmp_path / f"events.{form}"
    etwdetect("events", trace, "--format", form, "-o", path)
    assert records(etwdetect, path).out == records(etwdetect, trace).out != ""


@both
def test_a_trace_that_is_named_twice_makes_two_recordings_that_are_scanned_as_it(etwdetect, tmp_path, form):
    path = tmp_path / f"events.{form}"
    etwdetect("events", SAMPLE, SAMPLE, "--format", form, "-o", path)
    assert records(etwdetect, path).out == records(etwdetect, SAMPLE, SAMPLE).out


@both
def test_events_that_are_written_from_events_stay_as_they_are(etwdetect, tmp_path, form):
    first, second = tmp_path / "a.jsonl", tmp_path / f"b.{form}"
    etwdetect("events", SAMPLE, trace_with_two_headers(tmp_path), "--hash", "-o", first)
    etwdetect("events", first, "--format", form, "-o", second)
    assert etwdetect("events", second).out == first.read_text()


def named(rows):
    return {(row["host"], row["recording"]) for row in map(json.loads, rows.splitlines())}


def test_a_host_that_is_named_for_events_takes_the_place_of_theirs_alone(etwdetect, tmp_path):
    etwdetect("events", SAMPLE, "--host", "PC7", "-o", tmp_path / "a.jsonl")
    ((_, name),) = named((tmp_path / "a.jsonl").read_text())
    assert named(etwdetect("events", tmp_path / "a.jsonl", "--host", "PC8").out) == {("PC8", name)}


def test_events_without_their_beginning_keep_their_host_and_get_another_name(etwdetect, tmp_path):
    rows = etwdetect("events", SAMPLE, "--host", "PC7").out
    (tmp_path / "a.jsonl").write_text("".join(rows.splitlines(keepends=True)[5:]))
    ((host, name),) = named(etwdetect("events", tmp_path / "a.jsonl").out)
    assert host == "PC7"
    assert (host, name) not in named(rows)


def test_events_that_are_given_twice_make_two_recordings(etwdetect, tmp_path):
    etwdetect("events", SAMPLE, "--host", "PC7", "-o", tmp_path / "a.jsonl")
    both_named = named(etwdetect("events", *[tmp_path / "a.jsonl"] * 2).out)
    assert named((tmp_path / "a.jsonl").read_text()) < both_named
    assert len(both_named) == 2


def test_rows_that_are_in_a_file_twice_are_scanned_once_and_told(etwdetect, tmp_path):
    rows = etwdetect("events", SAMPLE).out
    path = tmp_path / "twice.jsonl"
    path.write_text(rows * 2)
    done = records(etwdetect, path)
    assert done.out == records(etwdetect, SAMPLE).out
    assert done.status == 3
    assert f": {rows.count(chr(10))} rows left out whose number an earlier row has: " in done.err


def test_the_first_recording_of_a_trace_has_the_same_name_whatever_else_is_written(etwdetect):
    once, twice = (etwdetect("events", *[SAMPLE] * count).out for count in (1, 2))
    assert twice.startswith(once)
    assert twice != once * 2


def test_a_trace_that_cannot_be_read_does_not_keep_the_others_from_being_written(etwdetect, tmp_path):
    (tmp_path / "bad.etl").write_bytes(b"no trace")
    done = etwdetect("events", tmp_path / "bad.etl", tmp_path / "missing.etl", SAMPLE)
    assert done.status == 1
    assert len(done.out.splitlines()) > 10
    assert "bad.etl: is not a trace" in done.err
    assert "missing.etl: cannot be opened" in done.err


def test_a_trace_without_our_events_is_its_first_row_and_said_to_be_incomplete(etwdetect, tmp_path):
    with (tmp_path / "a.etl").open("w+b") as file, TraceWriter(file, TraceOptions(START)):
        pass
    done = etwdetect("events", tmp_path / "a.etl")
    assert [json.loads(line)["kind"] for line in done.out.splitlines()] == ["RecordingStart"]
    assert done.status == 3


def test_packed_traces_are_read_as_by_scan(etwdetect, tmp_path):
    with gzip.open(tmp_path / "a.etl.gz", "wb") as file:
        file.write(SAMPLE.read_bytes())
    assert len(etwdetect("events", tmp_path / "a.etl.gz").out.splitlines()) > 10


def test_a_scan_of_packed_events_prints_the_records_of_the_trace(etwdetect, tmp_path):
    etwdetect("events", SAMPLE, "-o", tmp_path / "a.jsonl")
    packed = tmp_path / "a.jsonl.gz"
    packed.write_bytes(gzip.compress((tmp_path / "a.jsonl").read_bytes()))
    (tmp_path / "a.jsonl").unlink()
    for path in (packed, tmp_path):
        done = etwdetect("scan", path, "--format", "json")
        assert (done.status, done.out) == (0, etwdetect("scan", SAMPLE, "--format", "json").out)


def test_packed_events_that_are_cut_short_are_read_up_to_there(etwdetect, tmp_path):
    events = [event for number in range(2000) for event in attack(START + (10 + number) * SECOND)]
    rows = etwdetect("events", write_trace(tmp_path / "many.etl", events)).out.encode()
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(rows)[:-2000])
    done = etwdetect("scan", tmp_path / "a.jsonl.gz")
    assert done.status == 3
    assert "a.jsonl.gz: offset" in done.err
    assert "cannot be unpacked any further" in done.err
    assert 0 < len(done.out.splitlines()) < 2000


def test_parquet_needs_a_file(etwdetect):
    done = etwdetect("events", SAMPLE, "--format", "parquet")
    assert (done.status, done.out) == (2, "")
    assert "--format parquet needs --output" in done.err


def test_the_output_is_none_of_the_inputs(etwdetect, tmp_path):
    path = tmp_path / "a.etl"
    shutil.copy(SAMPLE, path)
    assert etwdetect("events", path, "-o", path).status == 2
    assert path.read_bytes() == SAMPLE.read_bytes()


def test_a_reader_that_goes_away_ends_it_quietly():
    command = [sys.executable, "-m", "etwdetect", "events", *[str(SAMPLE)] * 300]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read().decode()
    assert process.returncode == 0
    assert "Traceback" not in err
    assert "cannot be written" not in err


def test_without_pyarrow_the_remedy_is_told(tmp_path):
    code = (
        "import sys; sys.modules['pyarrow'] = None; from etwdetect.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    events = ["events", str(SAMPLE), "--format", "parquet", "-o", str(tmp_path / "a.parquet")]
    (tmp_path / "a.parquet").write_bytes(b"kept")
    (tmp_path / "b.parquet").write_bytes(b"PAR1")
    for arguments, status in ((events, 5), (["scan", str(tmp_path / "b.parquet")], 5)):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
        )
        assert done.returncode == status
        assert "Parquet needs pyarrow: pip install 'etwdetect[parquet]'" in done.stderr
        assert "Traceback" not in done.stderr
    assert (tmp_path / "a.parquet").read_bytes() == b"kept"
