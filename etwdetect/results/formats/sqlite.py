"""sqlite: a table of remote threads, with the fields of json as columns, for queries.

Text columns compare without regard to case, as Windows and Sigma do. What is not known is NULL; lists and reasons
are JSON; what does not print is escaped. Rows are added to a file that exists; nothing in it
is changed or removed.
"""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING, Any, Final

from etwdetect.results.errors import OutputError
from etwdetect.results.fields import FIELDS, NAMES, FieldType
from etwdetect.results.record import to_dict
from etwdetect.results.wording import printable

if TYPE_CHECKING:
    from pathlib import Path

    from etwdetect.enrich.detection import Detection

TABLE: Final = "remote_threads"

_APPLICATION_ID: Final = 0x45_54_57_44  # "ETWD", for file(1) and others
_BUSY_SECONDS: Final = 5.0

_MAX_INTEGER: Final = (1 << 63) - 1


class DatabaseWriter:
    """Adds rows to the table in the file at *path*; each `flush` makes them visible to others.

    Every method raises OutputError where the file is not a database, is locked for longer than five seconds, has
    such a table with other columns, or can't be written.
    """

    def __init__(self, path: Path) -> None:
        columns = ", ".join(
            f"{field.name} {'INTEGER' if field.type.is_number else 'TEXT COLLATE NOCASE'}" for field in FIELDS
        )
        self._insert = f"INSERT INTO {TABLE} ({', '.join(NAMES)}) VALUES ({', '.join('?' * len(NAMES))})"  # noqa: S608
        try:
            self._database = sqlite3.connect(path, timeout=_BUSY_SECONDS)
        except sqlite3.Error as error:
            raise OutputError(str(error)) from error
        try:
            if not self._run("SELECT 1 FROM sqlite_master LIMIT 1").fetchall():
                self._run(f"PRAGMA application_id = {_APPLICATION_ID}")
            self._run(f"CREATE TABLE IF NOT EXISTS {TABLE} ({columns})")
            self._check_columns()
            self.flush()
        except BaseException:
            self._database.close()
            raise

    def write(self, detection: Detection) -> None:
        """Add one row."""
        known = to_dict(detection)
        self._run(self._insert, [_value(field.type, known.get(field.name)) for field in FIELDS])

    def flush(self) -> None:
        """Commit what was written."""
        try:
            self._database.commit()
        except sqlite3.Error as error:
            raise OutputError(str(error)) from error

    def close(self) -> None:
        """Commit and close the file."""
        try:
            self.flush()
        finally:
            self._database.close()

    def _check_columns(self) -> None:
        if tuple(column[1] for column in self._run(f"PRAGMA table_info({TABLE})")) != NAMES:
            raise OutputError(
                f"its table {TABLE} has other columns than this version of etwdetect writes: choose a new file"
            )

    def _run(self, statement: str, values: list[Any] | None = None) -> sqlite3.Cursor:
        try:
            return self._database.execute(statement, values or ())
        except sqlite3.Error as error:
            raise OutputError(str(error)) from error


def _value(type_: FieldType, value: Any) -> Any:  # noqa: ANN401 (any value that a record can have)
    if value is None:
        return None
    if type_.is_number:
        number = int(value)
        return number if number <= _MAX_INTEGER else float(number)
    if type_ is not FieldType.TEXT:
        return json.dumps(value)
    return printable(value)  # SQLite's text is UTF-8, which has no lone surrogates, and ends at a NUL
