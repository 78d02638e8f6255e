"""The rows that a worker makes of traces."""

import json

from etwdetect.fleet.files import list_traces
from etwdetect.fleet.reading import batches
from tests.cli.test_events import trace_with_two_headers

_NAMED = ("host", "recording", "seq", "kind")


def test_the_recordings_of_a_trace_are_called_and_numbered_as_by_the_command_events(etwdetect, tmp_path):
    path = trace_with_two_headers(tmp_path)
    rows = [row for batch in batches(list_traces(str(path)), None) for row in batch.to_pylist()]
    written = map(json.loads, etwdetect("events", path).out.splitlines())
    expected = [tuple(row[name] for name in _NAMED) for row in written]
    assert [tuple(row[name] for name in _NAMED) for row in rows] == expected
