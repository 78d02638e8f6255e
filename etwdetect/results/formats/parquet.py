"""Results as Parquet, through pyarrow, the extra etwdetect[parquet].

The columns are those that `fleet` writes, in their types. What is not known is null. Text is UTF-8; what does not
print is escaped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from etwdetect.core.errors import MissingExtraError
from etwdetect.results.errors import OutputError
from etwdetect.results.fields import FIELDS, SCHEMA_VERSION, FieldType
from etwdetect.results.record import to_dict
from etwdetect.results.whole_file import WholeFile
from etwdetect.results.wording import printable

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError as error:
    raise MissingExtraError("--format parquet", "pyarrow", "parquet") from error

if TYPE_CHECKING:
    from pathlib import Path

    from etwdetect.enrich.detection import Detection

_ROWS: Final = 10_000
_CHARACTERS: Final = 16 << 20
"""How many rows, or characters in them, are held and written as one row group."""

_TEXT: Final = pa.string()
_TYPES: Final = {
    FieldType.NUMBER: pa.int64(),
    FieldType.FILETIME: _TEXT,
    FieldType.TEXT: _TEXT,
    FieldType.TEXTS: pa.list_(_TEXT),
    FieldType.REASONS: pa.map_(_TEXT, _TEXT),
    FieldType.RULES: pa.list_(
        pa.struct(
            [
                *((name, _TEXT) for name in ("Title", "Id", "Level")),
                *((name, pa.list_(_TEXT)) for name in ("Tags", "References")),
            ]
        )
    ),
}

ARROW_SCHEMA: Final = pa.schema(
    [(field.name, _TYPES[field.type]) for field in FIELDS],
    metadata={"etwdetect.schema_version": str(SCHEMA_VERSION)},
)


class ParquetWriter:
    """Writes a file that takes the place of *path* when it is closed; before that nobody can read it.

    Every method raises OutputError where it can't be written.
    """

    def __init__(self, path: Path) -> None:
        self._rows: list[dict[str, Any]] = []
        self._characters = 0
        try:
            self._file = WholeFile(path)
            self._writer = pq.ParquetWriter(self._file.buffer, ARROW_SCHEMA, compression="zstd")
        except (OSError, pa.ArrowException) as error:
            raise OutputError(_reason(error)) from error

    def write(self, detection: Detection) -> None:
        """Add one row."""
        row = {name: _value(value) for name, value in to_dict(detection).items()}
        self._rows.append(row)
        self._characters += sum(len(value) for value in row.values() if isinstance(value, str))
        if len(self._rows) >= _ROWS or self._characters >= _CHARACTERS:
            self._write_rows()

    def flush(self) -> None:
        """Do nothing: a row group is written when it is full."""

    def close(self) -> None:
        """Write what is left, and put the file in its place."""
        try:
            self._write_rows()
            self._writer.close()
            self._file.close()
        except (OSError, pa.ArrowException) as error:
            self._file.discard()
            raise OutputError(_reason(error)) from error

    def _write_rows(self) -> None:
        rows, self._rows, self._characters = self._rows, [], 0
        if not rows:
            return
        try:
            self._writer.write_table(pa.Table.from_pylist(rows, schema=ARROW_SCHEMA))
        except (OSError, pa.ArrowException) as error:
            self._file.discard()
            raise OutputError(_reason(error)) from error


def _value(value: Any) -> Any:  # noqa: ANN401 (any value that a record can have)
    """Return *value* with text that UTF-8 can hold, and the pairs of an object, as Arrow takes a map."""
    match value:
        case str():
            return printable(value)
        case list():
            return [_value(each) for each in value]
        case {"Title": _}:
            return {name: _value(each) for name, each in value.items()}
        case dict():
            return [(printable(name), printable(why)) for name, why in value.items()]
    return value


def _reason(error: OSError | pa.ArrowException) -> str:
    """Return what *error* says, without its number."""
    return getattr(error, "strerror", None) or str(error)
