"""A fault of a fleet: a row or a file that could not be read, or a row that came too late."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Mapping


class Fault(NamedTuple):
    """What is wrong, and where: the columns of a fault in `columns.RESULTS`, None where they are not known.

    *offset* is in bytes from the beginning of *file*.
    """

    fault: str
    host: str | None = None
    recording: str | None = None
    seq: int | None = None
    file: str | None = None
    offset: int | None = None

    @classmethod
    def of_row(cls, row: Mapping[str, Any], fault: str | None = None) -> Self:
        """Return the fault that *row* has, or *fault* in its place."""
        values = {name: row[name] for name in cls._fields}
        return cls(**values if fault is None else values | {"fault": fault})

    @classmethod
    def of_text(cls, host: str, recording: str, seq: int | None, text: str | None) -> Self:
        """Return the fault in the text column of a row, which `columns.rule_rows` makes in Spark."""
        return cls(host=host, recording=recording, seq=seq, **json.loads(text or "{}"))

    def to_row(self) -> dict[str, Any]:
        """Return the columns that are known."""
        return {name: value for name, value in self._asdict().items() if value is not None}
