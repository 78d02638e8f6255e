"""Events as Parquet, through pyarrow: the extra etwdetect[parquet]."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any, Final

from etwdetect.core.errors import MissingExtraError
from etwdetect.sources.eventdata.schema import (
    COLUMNS,
    SCHEMA_VERSION,
    NoEventsError,
    Recording,
    from_row,
    recording_of,
)
from etwdetect.sources.eventdata.writer import EventWriter

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError as error:
    raise MissingExtraError("Parquet", "pyarrow", "parquet") from error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etwdetect.sources.eventdata.schema import EventRow, RecordingStart

_BLOCK: Final = 50_000
"""How many rows are buffered and written as one row group."""

_UNREADABLE: Final = (pa.ArrowException, OSError, ValueError)
"""What pyarrow raises on a damaged file."""

_TYPES: Final = {"int32": pa.int32(), "int64": pa.int64(), "string": pa.string(), "bool": pa.bool_()}

ARROW_SCHEMA: Final = pa.schema(
    [(column.name, _TYPES[column.type]) for column in COLUMNS],
    metadata={"etwdetect.schema_version": str(SCHEMA_VERSION)},
)


class ParquetWriter(EventWriter):
    """Writes the events of recordings, one after the other, to *file*, which is readable after `close`."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._parquet = pq.ParquetWriter(file, ARROW_SCHEMA, compression="zstd")
        self._rows: list[dict[str, Any]] = []

    def begin(self, recording: Recording, start: RecordingStart) -> None:
        """Begin a recording: `write` adds events to it from now on."""
        self._flush()  # a row group holds one recording
        super().begin(recording, start)

    def _append(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        if len(self._rows) == _BLOCK:
            self._flush()

    def close(self) -> None:
        """Write the buffered rows and the end of the file."""
        self._flush()
        self._parquet.close()

    def _flush(self) -> None:
        if self._rows:
            self._parquet.write_table(pa.Table.from_pylist(self._rows, ARROW_SCHEMA))
            self._rows = []


class ParquetFile:
    """A Parquet file of events, open for reading. A place is a row group.

    ValueError where it can't be read, NoEventsError where it holds something else than events.
    """

    def __init__(self, file: IO[bytes]) -> None:
        try:
            self._parquet = pq.ParquetFile(file)
        except _UNREADABLE as error:
            raise ValueError(f"is not a readable Parquet file: {_first_line(error)}") from error
        names = set(self._parquet.schema_arrow.names)
        self._columns = [column.name for column in COLUMNS if column.name in names]
        missing = {"schema_version", "host", "recording", "seq", "kind", "time"} - names
        if missing:
            raise NoEventsError(f"is not a file of events: it has no column {min(missing)}")

    def places(self) -> Iterator[tuple[int, int, Recording | str]]:
        """Yield each row group's number, the next one, and each recording in it, or what is wrong with it."""
        for group in range(self._parquet.num_row_groups):
            try:
                table = self._parquet.read_row_group(group, columns=["schema_version", "host", "recording"])
                rows = table.group_by(table.column_names).aggregate([]).to_pylist()
            except _UNREADABLE as error:
                yield group, group + 1, f"row group {group} cannot be read: {_first_line(error)}"
                continue
            for row in rows:
                try:
                    yield group, group + 1, recording_of(row)
                except ValueError as error:
                    yield group, group + 1, str(error)

    def rows(self, begin: int, end: int, recording: Recording) -> Iterator[tuple[int, EventRow | str]]:
        """Yield the rows of *recording* between two row groups, each with its group.

        In place of a row that can't be read, of any recording, comes what is wrong with it.
        """
        for group in range(begin, end):
            try:
                for batch in self._parquet.iter_batches(row_groups=[group], columns=self._columns):
                    yield from ((group, read) for read in _read(batch.to_pylist(), recording))
            except _UNREADABLE as error:
                yield group, f"row group {group} cannot be read: {_first_line(error)}"


def _read(rows: list[dict[str, Any]], recording: Recording) -> Iterator[EventRow | str]:
    for row in rows:
        try:
            if recording_of(row) == recording:
                yield from_row(row)
        except ValueError as error:
            yield str(error)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
