"""Events as Parquet, through pyarrow: the extra etwdetect[parquet]."""

from __future__ import annotations

from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, Final

from etwdetect.core.errors import MissingExtraError
from etwdetect.sources.eventdata.columns import columns_of, events_of
from etwdetect.sources.eventdata.schema import (
    COLUMNS,
    OLDEST_VERSION,
    SCHEMA_VERSION,
    VERSIONS,
    NoEventsError,
    Recording,
    from_row,
    recording_of,
    written_recording,
)
from etwdetect.sources.eventdata.writer import EventWriter

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError as error:
    raise MissingExtraError("Parquet", "pyarrow", "parquet") from error

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from etwdetect.core.events import Event
    from etwdetect.sources.eventdata.pieces import Pieces
    from etwdetect.sources.eventdata.schema import RecordingStart, Row

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

_NAMED: Final = ("schema_version", "host", "recording")
"""The columns that say which recording a row is of."""

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
        self._events: list[Event | RecordingStart] = []
        """Those that are not written, of one recording, numbered from _first on."""
        self._first = 0

    def begin(self, recording: Recording, start: RecordingStart) -> None:
        """Begin a recording: `write` adds events to it from now on."""
        self._flush()  # a row group holds one recording
        super().begin(recording, start)

    def _append(self, _recording: Recording, seq: int, event: Event | RecordingStart) -> None:
        if not self._events:
            self._first = seq
        self._events.append(event)
        if len(self._events) == _BLOCK:
            self._flush()

    def abandon(self) -> None:
        """Write nothing more, also when this object goes."""
        self._parquet.is_open = False

    def close(self) -> None:
        """Write the buffered rows and the end of the file."""
        self._flush()
        self._parquet.close()

    def _flush(self) -> None:
        if self._events:
            self._parquet.write_table(_table(self._begun(), self._first, self._events))
            self._events = []


def _table(recording: Recording, first: int, events: Sequence[Event | RecordingStart]) -> pa.Table:
    """Return the rows of *events* of *recording*, which are numbered from *first* on."""
    by_kind: dict[type, list[int]] = {}
    for number, event in enumerate(events):
        by_kind.setdefault(type(event), []).append(number)
    columns: dict[str, list[Any]] = {
        **{name: [value] * len(events) for name, value in written_recording(recording).items()},
        "schema_version": [VERSIONS.get(type(event), OLDEST_VERSION) for event in events],
        "seq": list(range(first, first + len(events))),
        "kind": [type(event).__name__ for event in events],
    }
    for numbers in by_kind.values():
        for name, values in columns_of([events[number] for number in numbers]).items():
            column = columns.setdefault(name, [None] * len(events))
            for number, value in zip(numbers, values, strict=True):
                column[number] = value
    arrays = [
        pa.array(columns[field.name], field.type) if field.name in columns else pa.nulls(len(events), field.type)
        for field in ARROW_SCHEMA
    ]
    return pa.Table.from_arrays(arrays, schema=ARROW_SCHEMA)


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
                for batch in self._batches(group, list(_NAMED)):
                    columns = dict(zip(batch.schema.names, map(_values, batch.columns), strict=True))
                    seen.update(dict.fromkeys(self._recordings_in(columns)))
            except _UNREADABLE as error:
                seen[f"row group {group} cannot be read: {_first_line(error)}"] = None
            most -= len(seen) * metadata.row_group(group).num_rows
            if most < 0:
                raise ValueError("mixes recordings in its row groups; use `etwdetect fleet`")
            for what in seen:
                yield group, group + 1, 0, what

    def rows(self, pieces: Pieces, recording: Recording) -> Iterator[tuple[int, Row]]:
        """Yield the events of *recording* in *pieces*, each with its row group and its number.

        In place of a row that can't be read, of any recording, comes what is wrong with it.
        """
        for group in sorted({group for begin, end, _ in pieces for group in range(begin, end)}):
            try:
                first = 1
                for batch in self._batches(group, self._columns):
                    columns = dict(zip(batch.schema.names, map(_values, batch.columns), strict=True))
                    for read in self._read(columns, first, recording):
                        yield group, read if not isinstance(read, str) else f"row group {group}, row {read}"
                    first += len(batch)
            except _UNREADABLE as error:
                yield group, f"row group {group} cannot be read: {_first_line(error)}"

    def _read(self, columns: dict[str, list[Any]], first: int, recording: Recording) -> Iterable[Row]:
        """Return the events of *recording* in rows that are counted from *first* on.

        In place of a row that can't be read stands its count, and what is wrong with it.
        """
        if list(self._recordings_in(columns)) == [recording]:
            with suppress(TypeError, ValueError):
                return zip(columns["seq"], events_of(columns), strict=True)
        return self._read_each(columns, first, recording)

    def _read_each(self, columns: dict[str, list[Any]], first: int, recording: Recording) -> Iterator[Row]:
        for number, values in enumerate(zip(*columns.values(), strict=True), first):
            row = dict(zip(columns, values, strict=True))
            found = self._recording_of(*(row[name] for name in _NAMED))
            if isinstance(found, str):
                yield f"{number:,}: {found}"
            elif found == recording:
                try:
                    _, seq, event = from_row(row, recording)
                    yield seq, event
                except ValueError as error:
                    yield f"{number:,}: {error}"

    def _recordings_in(self, columns: dict[str, list[Any]]) -> Iterator[Recording | str]:
        """Yield the recordings of rows, and what is wrong with rows that name none, each once or more."""
        for named in dict.fromkeys(zip(*(columns[name] for name in _NAMED), strict=True)):
            yield self._recording_of(*named)

    def _batches(self, group: int, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a row group; ValueError where they would take too much memory."""
        # The sizes of the columns would tell more, but pyarrow ends the process where their metadata is damaged.
        unpacked = self._parquet.metadata.row_group(group).total_byte_size
        if not 0 <= unpacked <= max(_MIN_LIMIT, self._size * _MOST_EXPANSION):
            raise ValueError(f"unpacks to {unpacked:,} bytes, which no events in {self._size:,} do")
        yield from self._parquet.iter_batches(_BATCH, row_groups=[group], columns=columns)

    def _recording_of(self, *named: object) -> Recording | str:
        """Return the recording of a row whose _NAMED are these, or what is wrong with it."""
        known = self._recordings.get(named)
        if known is None:
            try:
                known = recording_of(dict(zip(_NAMED, named, strict=True)))
            except ValueError as error:
                known = str(error)
            if len(self._recordings) < _MOST_KNOWN:
                self._recordings[named] = known
        return known


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_simple(kind: pa.DataType) -> bool:
    """Whether a value has a few bytes, or is text: a dictionary of it is read as one."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(_is_text(kind) or pa.types.is_primitive(kind) or pa.types.is_null(kind))


def _values(column: pa.Array) -> list[Any]:
    """Return the values of *column*; those with the same text share it."""
    if column.null_count == len(column):
        return [None] * len(column)
    if pa.types.is_integer(column.type):
        return _numbers(column)
    if not pa.types.is_dictionary(column.type):
        return list(column.to_pylist())
    indices = _numbers(column.indices)
    used = sorted({index for index in indices if index is not None})
    taken = column.dictionary.take(pa.array(used, pa.int64())).to_pylist()
    texts: dict[int | None, Any] = dict(zip(used, taken, strict=True))
    return [texts.get(index) for index in indices]


def _numbers(column: pa.Array) -> list[int | None]:
    """Return what `to_pylist` does, which makes an object of each value first."""
    if not column.null_count:
        return list(column.to_numpy().tolist())
    values = column.fill_null(0).to_numpy().astype(object)
    values[column.is_null().to_numpy(zero_copy_only=False)] = None
    return list(values.tolist())


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
