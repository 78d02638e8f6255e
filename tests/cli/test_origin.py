"""Each record says which trace it came from, and text does where there are several."""

import csv
import gzip
import hashlib
import io
import json
import sqlite3
import zipfile
from pathlib import Path

import pytest

from tests.traces_by_writer import SECOND, START, attack, program_start, write_trace

SAMPLE = Path(__file__).parents[2] / "samples" / "windbg-attach.etl"
SHA256 = hashlib.sha256(SAMPLE.read_bytes()).hexdigest()


@pytest.fixture
def packed(tmp_path):
    """The sample in a .gz and in a .zip."""
    (tmp_path / "a.etl.gz").write_bytes(gzip.compress(SAMPLE.read_bytes()))
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.write(SAMPLE, "in/b.etl")
    return tmp_path


def names(folder):
    return [f"{folder / 'a.etl.gz'}"] * 2 + [f"{folder / 'b.zip'}!in/b.etl"] * 2


@pytest.mark.parametrize(
    ("form", "trace", "digest"),
    [
        ("json", lambda each: each["Trace"], lambda each: each["TraceSha256"]),
        ("timesketch", lambda each: each["Trace"], lambda each: each["TraceSha256"]),
        ("ecs", lambda each: each["log"]["file"]["path"], lambda each: each["etwdetect"]["TraceSha256"]),
        ("ocsf", lambda each: each["metadata"]["log_name"], lambda each: each["unmapped"]["TraceSha256"]),
    ],
)
def test_each_json_object_names_its_trace_and_with_hash_its_sha256(etwdetect, packed, form, trace, digest):
    records = [json.loads(line) for line in etwdetect("scan", packed, "--hash", "--format", form).out.splitlines()]
    assert [trace(each) for each in records] == names(packed)
    assert {digest(each) for each in records} == {SHA256}
    assert SHA256 not in etwdetect("scan", packed, "--format", form).out


def test_each_row_of_a_table_names_its_trace(etwdetect, packed):
    rows = list(csv.DictReader(io.StringIO(etwdetect("scan", packed, "--hash", "--format", "csv").out)))
    assert [row["Trace"] for row in rows] == names(packed)
    etwdetect("scan", packed, "--hash", "--format", "sqlite", "-o", packed / "out.db")
    database = sqlite3.connect(packed / "out.db")
    found = database.execute("SELECT Trace, TraceSha256 FROM remote_threads").fetchall()
    database.close()
    assert found == [(name, SHA256) for name in names(packed)] == [(r["Trace"], r["TraceSha256"]) for r in rows]


@pytest.mark.parametrize("command", ["scan", "explain"])
def test_text_names_the_trace_where_there_are_several_inputs_and_only_there(etwdetect, packed, command):
    lines = [line for line in etwdetect(command, packed).out.splitlines() if "Remote Thread" in line]
    assert [line.rpartition("  in ")[2] for line in lines] == names(packed)
    assert "  in " not in etwdetect(command, packed / "b.zip").out


def test_saved_records_keep_the_trace_that_they_have(etwdetect, packed):
    saved = packed / "saved.json"
    saved.write_text(etwdetect("scan", packed, "--hash", "--format", "json").out)
    assert etwdetect("scan", saved, "--hash", "--format", "json").out == saved.read_text()
    lines = etwdetect("scan", saved, packed / "b.zip").out.splitlines()
    assert [line.rpartition("  in ")[2] for line in lines] == [*names(packed)[2:], *names(packed)]


def test_events_as_data_keep_the_trace_that_they_come_from(etwdetect, packed):
    etwdetect("events", packed / "b.zip", "--hash", "-o", packed / "events.out")
    assert etwdetect("scan", packed / "events.out", "--format", "json").out == (
        etwdetect("scan", packed / "b.zip", "--hash", "--format", "json").out
    )


def test_joined_files_are_named_and_hashed_together(etwdetect, tmp_path):
    start, first = program_start(START + 5 * SECOND, 300, 301)
    two = write_trace(tmp_path / "2.etl", [first])
    one = write_trace(tmp_path / "1.etl", [start, *attack()])
    record = json.loads(etwdetect("scan", two, one, "--join", "--hash", "--format", "json").out)
    assert record["Trace"].endswith(" and 1 more, joined")
    in_either_order = {
        hashlib.sha256(a.read_bytes() + b.read_bytes()).hexdigest() for a, b in ((one, two), (two, one))
    }
    assert record["TraceSha256"] in in_either_order


def test_the_host_is_the_one_that_the_user_names(etwdetect, tmp_path):
    path = write_trace(tmp_path / "a.etl", attack())
    plain = json.loads(etwdetect("scan", path, "--format", "json").out)
    named = json.loads(etwdetect("scan", path, "--host", "PC7", "--format", "json").out)
    other = json.loads(etwdetect("scan", path, "--host", "PC8", "--format", "json").out)
    assert (plain.get("Computer"), named["Computer"]) == (None, "PC7")
    assert "Computer" not in named.get("Absent", {})
    assert len({each["SourceProcessGuid"] for each in (plain, named, other)}) == 3
    assert len({each["RecordId"] for each in (plain, named, other)}) == 3
