"""From trace files to batches of rows: what a worker does for the format "etl"."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
from pyspark.sql.pandas.types import to_arrow_schema

from etwdetect.core.errors import EtwDetectError, NotATraceError
from etwdetect.fleet.columns import EVENTS
from etwdetect.fleet.fault import Fault
from etwdetect.fleet.files import local
from etwdetect.offline import Scan
from etwdetect.offline.inputs import find_inputs
from etwdetect.sources.eventdata.schema import Recording, RecordingStart, to_row
from etwdetect.sources.eventdata.trace import kept_names, origin
from etwdetect.sources.eventdata.writer import recording_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from etwdetect.fleet.files import TraceFile
    from etwdetect.offline.inputs import Readable
    from etwdetect.sources.etl.reader import Trace
    from etwdetect.sources.eventdata.trace import EventDataTrace

_BLOCK: Final = 10_000
"""How many rows are in one batch."""


def batches(files: Iterable[TraceFile], host: str | None) -> Iterator[pa.RecordBatch]:
    """Yield the rows of the traces in *files*; what can't be read becomes a row with a fault."""
    schema = to_arrow_schema(EVENTS)
    block: list[dict[str, Any]] = []
    for file in files:
        for row in _rows(file.path, host):
            block.append(row)
            if len(block) == _BLOCK:
                yield pa.RecordBatch.from_pylist(block, schema)
                block = []
    yield pa.RecordBatch.from_pylist(block, schema)


def _rows(path: str, host: str | None) -> Iterator[dict[str, Any]]:
    try:
        with local(path) as here:
            yield from _rows_in(path, here, host)
    except (EtwDetectError, OSError) as error:
        yield Fault(str(error), file=path).to_row()


def _rows_in(path: str, here: Path, host: str | None) -> Iterator[dict[str, Any]]:
    """Yield the rows of the traces in the file at *path*, which is *here* on this machine."""
    try:
        inputs = list(find_inputs(here))
    except NotATraceError as error:
        yield _fault(error, path, here, path).to_row()
        return
    for found in inputs:
        name = path + found.name.removeprefix(str(here))
        try:
            yield from _rows_of(found, name, host)
        except (EtwDetectError, OSError) as error:
            yield _fault(error, name, here, path).to_row()


def _rows_of(found: Readable, name: str, host: str | None) -> Iterator[dict[str, Any]]:
    opening: AbstractContextManager[Trace | EventDataTrace] = found.open()
    with opening as trace:
        scan = Scan([trace])
        recording = Recording(name, "")
        kept_host, kept_name = kept_names(trace)
        place = seq = 0
        for event in scan.recording():
            if isinstance(event, RecordingStart):
                called = _host_in(name, host) or kept_host or scan.result().host or name
                recording = Recording(called, kept_name or recording_name(name, event.start_time, place))
                of, sha256 = origin(trace, name)
                place, seq = place + 1, 0
                yield to_row(recording, seq, event._replace(trace=of, trace_sha256=sha256))
            else:
                seq += 1
                yield to_row(recording, seq, event)
    (file,) = scan.result().files
    for offset, what in file.described:
        yield Fault(what, file=name, offset=offset).to_row()
    more = file.damages - len(file.described)
    if more:
        yield Fault(f"{more:,} more places are damaged", file=name).to_row()
    if file.missing:
        fault = f"{file.buffers - file.missing:,} of {file.buffers:,} buffers are there"
        yield Fault(fault, file=name).to_row()


def _host_in(name: str, pattern: str | None) -> str | None:
    found = re.search(pattern, name) if pattern else None
    return found and (found[1] if found.re.groups else found[0])


def _fault(error: Exception, name: str, here: Path, path: str) -> Fault:
    offset = error.offset if isinstance(error, NotATraceError) else None
    return Fault(str(error).replace(str(here), path), file=name, offset=offset)
