"""Events as Parquet, through pyarrow: the extra etwdetect[parquet]."""

from __future__ import annotations

from itertools import chain
from typing import IO, TYPE_CHECKING, Any, Final

from etwdetect.core.errors import MissingExtraError
from etwdetect.sources.eventdata.schema import (
    COLUMNS,
    SCHEMA_VERSION,
    EventRow,
    NoEventsError,
    Recording,
    from_row,
    recording_of,
    to_row,
)
from etwdetect.sources.eventdata.writer import EventWriter

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError as error:
    raise MissingExtraError("Parquet", "pyarrow", "parquet") from error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etwdetect.core.events import Event
    from etwdetect.sources.eventdata.pieces import Pieces
    from etwdetect.sources.eventdata.schema import RecordingStart

_BLOCK: Final = 50_000
"""How many rows are buffered and written as one row group."""

_BATCH: Final = 1024
"""How many rows are in memory at a time, in reading."""

_MIN_LIMIT: Final = 64 << 20
_MOST_EXPANSION: Final = 250
"""What a row group may unpack to: 64 MiB, or so many times the file's bytes, as in `sources.archive`."""

_MOST_ROWS: Final = 1_000_000
_MOST_ROWS_OF_A_BYTE: Final = 16
"""How many rows a file may claim: a million, or so many for each of its bytes."""

_MOST_READINGS: Final = 16
"""How often a row may be read for the recordings that share its row group, on average."""

_MOST_KNOWN: Final = 20_000
"""How many recordings are remembered."""

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

    def _append(self, recording: Recording, seq: int, event: Event | RecordingStart) -> None:
        self._rows.append(to_row(recording, seq, event))
        if len(self._rows) == _BLOCK:
            self._flush()

    def abandon(self) -> None:
        """Write nothing more, also when this object goes."""
        self._parquet.is_open = False

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
        self._recordings: dict[tuple[object, ...], Recording | str] = {}
        try:
            schema = pq.ParquetFile(file).schema_arrow
            # Texts stay in dictionaries: one long text of many rows would else be as many long texts.
            texts = [field.name for field in schema if _is_text(field.type)]
            self._parquet = pq.ParquetFile(file, read_dictionary=texts)
            self._size = file.seek(0, 2)
        except _UNREADABLE as error:
            raise ValueError(f"is not a readable Parquet file: {_first_line(error)}") from error
        names = set(schema.names)
        self._columns = [column.name for column in COLUMNS if column.name in names]
        missing = {"schema_version", "host", "recording", "seq", "kind", "time"} - names
        if missing:
            raise NoEventsError(f"is not a file of events: it has no column {min(missing)}")
        for name in self._columns:
            if not _is_simple(schema.field(name).type):
                raise ValueError(f"its column {name} holds {schema.field(name).type}, not text or numbers")
        rows = self._parquet.metadata.num_rows
        if rows > max(_MOST_ROWS, self._size * _MOST_ROWS_OF_A_BYTE):
            raise ValueError(f"claims {rows:,} rows in {self._size:,} bytes, which no events do")

    def places(self) -> Iterator[tuple[int, int, int, Recording | str]]:
        """Yield each row group's number, the next one, 0, and each recording in it, or what is wrong with it.

        ValueError where reading each recording would read the rows of others many times.
        """
        metadata = self._parquet.metadata
        most = max(_MOST_ROWS, _MOST_READINGS * metadata.num_rows)
        for group in range(self._parquet.num_row_groups):
            seen: dict[Recording | str, None] = {}
            try:
                for batch in self._batches(group, ["schema_version", "host", "recording"]):
                    seen.update(dict.fromkeys(self._recording_of(row) for row in _rows_of(batch)))
            except _UNREADABLE as error:
                seen[f"row group {group} cannot be read: {_first_line(error)}"] = None
            most -= len(seen) * metadata.row_group(group).num_rows
            if most < 0:
                raise ValueError("mixes recordings in its row groups; use `etwdetect fleet`")
            for what in seen:
                yield group, group + 1, 0, what

    def rows(self, pieces: Pieces, recording: Recording) -> Iterator[tuple[int, EventRow | str]]:
        """Yield the rows of *recording* in *pieces*, each with its row group.

        In place of a row that can't be read, of any recording, comes what is wrong with it.
        """
        for group in sorted({group for begin, end, _ in pieces for group in range(begin, end)}):
            try:
                rows = chain.from_iterable(map(_rows_of, self._batches(group, self._columns)))
                for number, row in enumerate(rows, 1):
                    try:
                        found = self._recording_of(row)
                        read: EventRow | Recording | str = (
                            from_row(row, recording) if found == recording else found
                        )
                    except ValueError as error:
                        read = str(error)
                    if isinstance(read, str):
                        yield group, f"row group {group}, row {number:,}: {read}"
                    elif isinstance(read, EventRow):
                        yield group, read
            except _UNREADABLE as error:
                yield group, f"row group {group} cannot be read: {_first_line(error)}"

    def _batches(self, group: int, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a row group; ValueError where they would take too much memory."""
        # The sizes of the columns would tell more, but pyarrow ends the process where their metadata is damaged.
        unpacked = self._parquet.metadata.row_group(group).total_byte_size
        if not 0 <= unpacked <= max(_MIN_LIMIT, self._size * _MOST_EXPANSION):
            raise ValueError(f"unpacks to {unpacked:,} bytes, which no events in {self._size:,} do")
        yield from self._parquet.iter_batches(_BATCH, row_groups=[group], columns=columns)

    def _recording_of(self, row: dict[str, Any]) -> Recording | str:
        """Return the recording of *row*, or what is wrong with it."""
        key = row["schema_version"], row["host"], row["recording"]
        known = self._recordings.get(key)
        if known is None:
            try:
                known = recording_of(row)
            except ValueError as error:
                known = str(error)
            if len(self._recordings) < _MOST_KNOWN:
                self._recordings[key] = known
        return known


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_simple(kind: pa.DataType) -> bool:
    """Whether a value has a few bytes, or is text: a dictionary of it is read as one."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(_is_text(kind) or pa.types.is_primitive(kind) or pa.types.is_null(kind))


def _rows_of(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """Yield the rows of *batch*; those with the same text share it."""
    names = batch.schema.names
    for values in zip(*map(_values, batch.columns), strict=True):
        yield dict(zip(names, values, strict=True))


def _values(column: pa.Array) -> list[Any]:
    if not pa.types.is_dictionary(column.type):
        return list(column.to_pylist())
    indices = column.indices.to_pylist()
    used = sorted({index for index in indices if index is not None})
    texts: dict[int | None, Any] = dict(
        zip(used, column.dictionary.take(pa.array(used, pa.int64())).to_pylist(), strict=True)
    )
    return [texts.get(index) for index in indices]


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
