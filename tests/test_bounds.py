"""Small inputs that once took much memory or time: what each takes now grows with the input and no faster."""

import gzip
import json
import os
import subprocess
import sys

import pytest

from etwdetect.cli import main
from etwdetect.core.events import ProcessRundown, ThreadStart
from etwdetect.enrich import enricher
from etwdetect.offline import Scan
from etwdetect.offline.inputs import find_inputs
from etwdetect.sources.etl import buffers, reader, window
from etwdetect.sources.eventdata import jsonl, trace
from etwdetect.sources.eventdata.schema import Recording, RecordingStart, to_row
from tests.bytes_by_hand import buffer_header
from tests.conftest import ROOT
from tests.traces_by_writer import SECOND, START, attack, write_trace

MEBIBYTE = 1 << 20

needs_limits = pytest.mark.skipif(sys.platform != "linux", reason="peaks of memory are read as Linux tells them")

_LIMITED = """
import resource, sys
limit = int(sys.argv.pop(1)) << 20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
from etwdetect.cli import main
from etwdetect.enrich import enricher
status = main()
sys.stdout.flush()
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")), end="")
sys.exit(status)
"""


def measured(*arguments, megabytes=4000):
    """Run the command line in *megabytes* of address space; return status, output and peak memory in MiB."""
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED, str(megabytes), *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "OPENBLAS_NUM_THREADS": "1",
            "ARROW_DEFAULT_MEMORY_POOL": "system",
        },
    )
    output, _, peak = done.stdout.rpartition("VmHWM:")
    return done.returncode, output, int(peak.split()[0]) / 1024


# -- buffers without records


def with_empty_buffers(path, count, size=buffers.HEADER_SIZE):
    """A trace with one hit in which *count* buffers of *size* bytes, without a record, stand before the hit."""
    data = write_trace(path, attack(), buffer_size=1024).read_bytes()
    path.write_bytes(
        data[:1024] + buffer_header(size, buffers.HEADER_SIZE).ljust(size, b"\xff") * count + data[1024:]
    )
    return path


@pytest.mark.slow
@needs_limits
@pytest.mark.parametrize("size", [72, 80])
def test_a_million_buffers_without_records_take_no_memory(tmp_path, size):
    path = with_empty_buffers(tmp_path / "a.etl", 500_000, size)
    status, output, megabytes = measured("scan", path, megabytes=400)
    assert "1 remote thread in 1 thread start" in output
    assert (status, megabytes < 150) == (0, True), (output, megabytes)


def test_the_buffers_in_the_window_are_bounded_whatever_their_size(tmp_path, monkeypatch):
    placed = []
    walk = reader.walk
    monkeypatch.setattr(window, "WINDOW", 1 << 16)
    monkeypatch.setattr(
        reader, "walk", lambda data, spans, wanted: placed.append(len(spans)) or walk(data, spans, wanted)
    )
    with with_empty_buffers(tmp_path / "a.etl", 1000, 80).open("rb") as file:
        assert len(list(Scan([reader.Trace(file, "a.etl")]).detections())) == 1
    assert max(placed) <= (1 << 16) // 256 + 1


# -- events as data


def rows_of(recording, number):
    """A recording with one hit; the rows of a line each."""
    events = [
        RecordingStart(START, START),
        ProcessRundown(START + 1, 200, create_time=START - SECOND, image="b.exe"),
        ThreadStart(START + number * SECOND, 100, 101, 200, number),
    ]
    return [json.dumps(to_row(recording, seq, event)) + "\n" for seq, event in enumerate(events)]


def interleaved(path, count):
    """Events of *count* recordings, whose first rows stand first, then all second ones, and so on."""
    recordings = [rows_of(Recording("H", str(number)), number + 10) for number in range(count)]
    text = "".join(rows[at] for at in range(3) for rows in recordings)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def parsed_lines(path, monkeypatch):
    """Scan every recording in *path*; return how many hits there are, and how often a line was parsed."""
    count = 0
    parse = jsonl._parse

    def counted(line):
        nonlocal count
        count += 1
        return parse(line)

    with monkeypatch.context() as patched:
        patched.setattr(jsonl, "_parse", counted)
        hits = 0
        for found in find_inputs(path):
            with found.open() as opened:
                hits += len(list(Scan([opened]).detections()))
    return hits, count


@pytest.mark.parametrize("name", ["e.jsonl", "e.jsonl.gz"])
def test_interleaved_recordings_are_read_in_time_linear_in_the_file(tmp_path, monkeypatch, name):
    one, two = (parsed_lines(interleaved(tmp_path / name, count), monkeypatch) for count in (200, 400))
    assert (one[0], two[0]) == (200, 400)
    assert two[1] <= 2 * one[1] + 10


def test_a_packed_file_is_unpacked_once_for_all_its_recordings(tmp_path, monkeypatch):
    opened = []
    really = trace._opened
    monkeypatch.setattr(trace, "_opened", lambda *arguments: opened.append(arguments) or really(*arguments))
    assert parsed_lines(interleaved(tmp_path / "e.jsonl.gz", 50), monkeypatch)[0] == 50
    assert len(opened) == 2, "once to find the recordings, once to read them"


def test_recordings_of_one_file_can_be_open_at_the_same_time_and_again(tmp_path):
    found = list(find_inputs(interleaved(tmp_path / "e.jsonl.gz", 3)))
    for _ in range(2):
        with found[0].open() as one, found[1].open() as two, found[2].open() as three:
            events = list(zip(one.events(), two.events(), three.events(), strict=True))
            assert [[each.tid for each in row if hasattr(each, "tid")] for row in events] == [[], [10, 11, 12]]


def test_recordings_that_alternate_without_end_are_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(trace, "MOST_PIECES", 10)
    assert main(["scan", str(interleaved(tmp_path / "e.jsonl", 20))]) == 1
    assert "its recordings alternate more than 10 times; use `etwdetect fleet`" in capsys.readouterr().err


def test_a_line_that_names_two_recordings_is_told(tmp_path, capsys):
    first, *rows = rows_of(Recording("H", "r"), 10)
    bad = rows[1].replace(
        '{"schema_version": 1, "host": "H", "recording": "r", ', '{"schema_version":1,"host":"H","recording":"r",'
    )
    good = [line.replace('": ', '":').replace(", ", ",") for line in (first, rows[0])]
    path = tmp_path / "e.jsonl"
    path.write_text("".join(good) + bad.replace('"tid": 10', '"tid": 10, "host": "X"'))
    assert main(["scan", str(path)]) == 3
    assert "line 3: names two recordings; the row is left out" in capsys.readouterr().err


@pytest.mark.parametrize("time", [9_000_000_000_000_000_000, -1])
@pytest.mark.parametrize("command", [["scan"], ["scan", "--format", "json"], ["explain"]])
def test_a_time_outside_a_calendar_is_refused_with_its_line_and_field(tmp_path, capsys, time, command):
    rows = [
        *rows_of(Recording("H", "r"), 10),
        json.dumps(to_row(Recording("H", "r"), 9, ThreadStart(time, 1, 2, 3, 4))),
    ]
    path = tmp_path / "e.jsonl"
    path.write_text("".join(rows))
    assert main([*command, str(path)]) == 3
    out, err = capsys.readouterr()
    assert "100" in out, "the other hit is there"
    assert f"line 4: time: {time} is not a FILETIME before the year 10000; the row is left out" in err


# -- Parquet


def parquet(path, count, **columns):
    """A Parquet file of *count* rows: one start, then thread starts; *columns* replace values of all rows."""
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    pq = pytest.importorskip("pyarrow.parquet")
    from etwdetect.sources.eventdata.parquet import ARROW_SCHEMA  # noqa: PLC0415 (an extra)

    start = to_row(Recording("h", "r"), 0, RecordingStart(START, START))
    row = to_row(Recording("h", "r"), 1, ThreadStart(START + SECOND, 100, 101, 200, 201))
    rows = [start, *({**row, "seq": number} for number in range(1, count))]
    table = pa.Table.from_pylist(rows, ARROW_SCHEMA)
    for name, value in columns.items():
        values = pa.repeat(pa.scalar(value), count)
        table = table.set_column(table.schema.get_field_index(name), name, values)
    # The numbers, each another one, take next to nothing as differences.
    others = [name for name in table.schema.names if name != "seq"]
    encoding = {"use_dictionary": others, "column_encoding": {"seq": "DELTA_BINARY_PACKED"}}
    pq.write_table(table, path, compression="zstd", row_group_size=count, **encoding)
    return path


@pytest.mark.slow
@needs_limits
def test_a_long_text_that_all_rows_of_parquet_share_takes_its_memory_once(tmp_path):
    path = parquet(tmp_path / "e.parquet", 20_000, host="h" * 100_000)
    assert path.stat().st_size < 20_000
    status, output, megabytes = measured("scan", path, "--format", "classic")
    assert (status, megabytes < 500) == (0, True), (output[-1000:], megabytes)


@pytest.mark.slow
@needs_limits
def test_a_column_of_parquet_that_unpacks_to_very_much_is_refused(tmp_path):
    path = tmp_path / "e.parquet"
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    pq = pytest.importorskip("pyarrow.parquet")
    from etwdetect.sources.eventdata.parquet import ARROW_SCHEMA  # noqa: PLC0415 (an extra)

    rows = [to_row(Recording("h", "r"), 0, RecordingStart(START, START))]
    rows += [{**rows[0], "seq": number, "kind": "x" * MEBIBYTE + str(number)} for number in range(1, 200)]
    table = pa.Table.from_pylist(rows, ARROW_SCHEMA)
    pq.write_table(table, path, compression="zstd", use_dictionary=False)
    assert path.stat().st_size < MEBIBYTE
    status, output, megabytes = measured("scan", path)
    assert "row group 0 cannot be read: unpacks to " in output
    assert (status, megabytes < 400) == (1, True), (output, megabytes)


def test_parquet_that_claims_more_rows_than_its_bytes_can_hold_is_refused(tmp_path, monkeypatch, capsys):
    path = parquet(tmp_path / "e.parquet", 30_000)
    monkeypatch.setattr("etwdetect.sources.eventdata.parquet._MOST_ROWS", 1000)
    monkeypatch.setattr("etwdetect.sources.eventdata.parquet._MOST_ROWS_OF_A_BYTE", 1)
    assert main(["scan", str(path)]) == 1
    assert "claims 30,000 rows in " in capsys.readouterr().err


def test_parquet_with_a_column_of_lists_is_refused(tmp_path, capsys):
    assert main(["scan", str(parquet(tmp_path / "e.parquet", 5, host=["h"] * 3))]) == 1
    assert "its column host holds list<" in capsys.readouterr().err


def test_large_strings_and_dictionaries_of_parquet_are_text(tmp_path, capsys):
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    pq = pytest.importorskip("pyarrow.parquet")
    table = pq.read_table(parquet(tmp_path / "e.parquet", 5))
    for name, kind in (("host", pa.large_string()), ("kind", pa.dictionary(pa.int32(), pa.string()))):
        index = table.schema.get_field_index(name)
        table = table.set_column(index, name, table.column(index).cast(kind))
    pq.write_table(table, tmp_path / "f.parquet")
    assert main(["scan", str(tmp_path / "f.parquet")]) == 0
    assert "4 remote threads" in capsys.readouterr().err


def test_parquet_whose_row_groups_mix_very_many_recordings_is_refused(tmp_path, monkeypatch, capsys):
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    pq = pytest.importorskip("pyarrow.parquet")
    from etwdetect.sources.eventdata.parquet import ARROW_SCHEMA  # noqa: PLC0415 (an extra)

    rows = [json.loads(line) for number in range(100) for line in rows_of(Recording("H", str(number)), 10)]
    pq.write_table(pa.Table.from_pylist(rows, ARROW_SCHEMA), tmp_path / "e.parquet")
    assert main(["scan", str(tmp_path / "e.parquet")]) == 0
    monkeypatch.setattr("etwdetect.sources.eventdata.parquet._MOST_ROWS", 10_000)
    assert main(["scan", str(tmp_path / "e.parquet")]) == 1
    assert "mixes recordings in its row groups; use `etwdetect fleet`" in capsys.readouterr().err


# -- remote threads that wait to settle


def burst(path, count):
    """A trace with *count* remote threads within a second, from outside any image."""
    hits = [
        ThreadStart(START + 10 * SECOND + number, 100, 101, 200, 1000 + number, 0x5000) for number in range(count)
    ]
    return write_trace(path, [*attack()[:2], *hits])


def test_more_remote_threads_than_may_wait_are_yielded_early_in_order_and_say_so(tmp_path, monkeypatch):
    waiting = []
    monkeypatch.setattr(enricher, "MOST_PENDING", 100)
    detect = enricher.Enricher._detection

    def counted(self, *arguments, **options):
        waiting.append(len(self._pending))
        return detect(self, *arguments, **options)

    monkeypatch.setattr(enricher.Enricher, "_detection", counted)
    with burst(tmp_path / "a.etl", 1000).open("rb") as file:
        found = list(Scan([reader.Trace(file, "a.etl")]).detections())
    assert [each.thread.tid for each in found] == [1000 + number for number in range(1000)]
    assert max(waiting) == 100
    why = [dict(each.absent)["StartModule"] for each in found]
    assert why[:900] == ["too many remote threads waited at once for images that are mapped late"] * 900
    assert "the trace does not tell of the target's images" in why[900]


@pytest.mark.slow
def test_parquet_whose_columns_are_described_wrongly_ends_no_process(tmp_path):
    """pyarrow ends the process when it is asked for the description of such a column; fuzzing found that."""
    path = parquet(tmp_path / "e.parquet", 5)
    whole = path.read_bytes()
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    statuses = set()
    for at in range(footer, len(whole) - 8, 37):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x3]) + whole[at + 1 :])
        statuses.add(main(["scan", "--format", "classic", str(path)]))
    assert statuses <= {0, 1, 3}
