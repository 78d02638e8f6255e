"""The rows that a worker makes of traces."""

import json
from zipfile import ZipFile

from etwdetect.fleet.files import list_traces
from etwdetect.fleet.reading import batches
from tests.cli.test_events import trace_with_two_headers
from tests.traces_by_writer import attack, write_trace

_NAMED = ("host", "recording", "seq", "kind")


def rows_at(path):
    return [row for batch in batches(list_traces(str(path)), None) for row in batch.to_pylist()]


def test_events_in_an_archive_keep_the_host_and_the_name_that_they_have(etwdetect, tmp_path):
    written = etwdetect("events", write_trace(tmp_path / "a.etl", attack()), "--host", "PC7").out
    with ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("e.jsonl", written)
    expected = [tuple(row[name] for name in _NAMED) for row in map(json.loads, written.splitlines())]
    assert [tuple(row[name] for name in _NAMED) for row in rows_at(tmp_path / "a.zip")] == expected


def test_the_recordings_of_a_trace_are_called_and_numbered_as_by_the_command_events(etwdetect, tmp_path):
    path = trace_with_two_headers(tmp_path)
    written = map(json.loads, etwdetect("events", path).out.splitlines())
    expected = [tuple(row[name] for name in _NAMED) for row in written]
    assert [tuple(row[name] for name in _NAMED) for row in rows_at(path)] == expected
