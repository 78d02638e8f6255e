"""A table in memory with the records of a batch, queried by the conditions of rules."""

from __future__ import annotations

import sqlite3
import weakref
from typing import TYPE_CHECKING, Final

from etwdetect.enrich.programs import lacks_path
from etwdetect.results.sigma.regex import compiled
from etwdetect.results.sigma.text import cleaned, comparable, folded

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from etwdetect.results.sigma.sql import SqlColumn, SqlCondition
    from etwdetect.results.sigma.text import SqlValue

_FUNCTIONS: Final = frozenset(("like", "glob", "regexp", "begins", "ends", "holds", "coalesce", "strftime"))
_TABLE: Final = "record"


class RecordTable:
    """A table of *columns* for a batch of records at a time.

    Its database is closed when the last user of the table is gone.
    """

    def __init__(self, columns: Iterable[SqlColumn]) -> None:
        self._columns = sorted(columns, key=lambda column: column.name)
        # One thread at a time uses it; the one in which its last user is found to be gone may be any.
        self._connection = sqlite3.connect(
            ":memory:", isolation_level=None, cached_statements=1024, check_same_thread=False
        )
        weakref.finalize(self, self._connection.close)
        declared = ", ".join(
            ["id INTEGER PRIMARY KEY", *(f"{column.name} {_type(column)}" for column in self._columns)]
        )
        self._connection.execute(f"CREATE TABLE {_TABLE} ({declared})")
        marks = ", ".join("?" * (1 + len(self._columns)))
        self._insert = f"INSERT INTO {_TABLE} VALUES ({marks})"  # noqa: S608 (nothing but marks)
        for name, function in (("regexp", _matches), ("begins", _begins), ("ends", _ends), ("holds", _holds)):
            self._connection.create_function(name, 2, function, deterministic=True)
        self._connection.set_authorizer(_allow)

    def fill(self, records: Sequence[Mapping[str, object]]) -> None:
        """Hold *records* instead of the previous ones; the first is number 0."""
        self._connection.execute(f"DELETE FROM {_TABLE}")  # noqa: S608 (a constant)
        columns = [_values(column, records) for column in self._columns]
        self._connection.executemany(self._insert, zip(range(len(records)), *columns, strict=True))

    def matching(self, condition: SqlCondition) -> Iterable[int]:
        """Return the numbers of the records that *condition* is true for. Raises sqlite3.Error."""
        # pySigma wrote the expression and escaped the rule's texts; _allow permits nothing else.
        query = f"SELECT id FROM {_TABLE} WHERE {condition.expression}"  # noqa: S608
        return [number for (number,) in self._connection.execute(query)]


def _type(column: SqlColumn) -> str:
    if column.field is not None and column.field.number:
        return "NUMERIC"
    return "TEXT" if column.exact else "TEXT COLLATE NOCASE"


def _values(column: SqlColumn, records: Sequence[Mapping[str, object]]) -> list[SqlValue]:
    """Return what *column* has for each of *records*."""
    form, field = cleaned if column.exact else folded, column.field
    if field is None:
        return [form("\n".join(map(str, record.values()))) for record in records]
    if field.constant is not None:
        return [field.constant] * len(records)
    values: Iterable[object] = (record.get(field.name) for record in records)
    if column.rooted:
        values = (f"\\{each}" if isinstance(each, str) and each and lacks_path(each) else each for each in values)
    return [None if value is None else comparable(value, form) for value in values]


def _matches(pattern: str, value: SqlValue) -> bool:
    return value is not None and compiled(pattern).search(str(value)) is not None


def _begins(value: SqlValue, start: SqlValue) -> bool:
    return value is not None and start is not None and str(value).upper().startswith(str(start).upper())


def _ends(value: SqlValue, end: SqlValue) -> bool:
    return value is not None and end is not None and str(value).upper().endswith(str(end).upper())


def _holds(value: SqlValue, part: SqlValue) -> bool:
    return value is not None and part is not None and str(part).upper() in str(value).upper()


def _allow(action: int, first: str | None, second: str | None, _database: str | None, _trigger: str | None) -> int:
    """Permit SQL to read and fill the table, and to call the functions that conditions use."""
    allowed = (
        action == sqlite3.SQLITE_SELECT
        or (action in (sqlite3.SQLITE_READ, sqlite3.SQLITE_INSERT, sqlite3.SQLITE_DELETE) and first == _TABLE)
        or (action == sqlite3.SQLITE_FUNCTION and second in _FUNCTIONS)
    )
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY
