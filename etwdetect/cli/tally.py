"""Counts how many inputs ended: with many, one line says more than a line of each."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from etwdetect.cli.status import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etwdetect.cli.inputs import Unread
    from etwdetect.cli.sources import Source

_NAMED: Final = 10
"""How many inputs without anything to show are named unless the user asks for all."""

UNREADABLE: Final = "unreadable"
PASSED_OVER: Final = "passed over"
NOT_READ: Final = "not read"
"""What inputs that are not read are counted as."""


class Tally:
    """The inputs of a command by how they ended; with *verbose* each has its lines.

    *judges* says whether the command looks for remote threads.
    """

    def __init__(self, *, judges: bool, verbose: bool) -> None:
        self._judges = judges
        self._verbose = verbose
        self._sources = 0
        self._found = 0
        self._incomplete = 0
        self._empty = 0
        self._hidden = 0
        self._failed = 0

    def warnings_of(self, source: Source) -> Iterator[str]:
        """Yield what is wrong with *source*; not that it shows nothing, if many were named that don't."""
        empty = source.nothing_to_show()
        hidden = empty is not None and not self._names(source)
        self._hidden += hidden
        yield from (line for line in source.warnings() if not (hidden and line == empty))

    def notes_of(self, source: Source, closing: str | None) -> Iterator[str]:
        """Yield what else is said of *source*, with *closing* as the last line unless it shows nothing."""
        yield from source.notes()
        if closing and (source.nothing_to_show() is None or self._verbose or source.alone):
            yield closing

    def _names(self, source: Source) -> bool:
        """Whether *source* is named if it shows nothing."""
        return self._verbose or source.alone or self._empty < _NAMED

    def add(self, source: Source, status: Status) -> None:
        """Count *source*, which ended with *status*."""
        self._sources += 1
        self._found += source.finds_any()
        if status == Status.ERROR:
            self._failed += 1
        elif source.nothing_to_show() is not None:
            self._empty += 1
        elif status == Status.INCOMPLETE:
            self._incomplete += 1

    def closing(self, unread: list[Unread]) -> str | None:
        """Return the line that sums up all inputs, None where there is at most one."""
        total = self._sources + len(unread)
        if total < 2:
            return None
        unread_as = Counter(each.counted_as for each in unread)
        counts = (
            (self._incomplete, "incomplete"),
            (self._empty, "without anything to show" + (" (-v names all)" if self._hidden else "")),
            (self._failed + unread_as[UNREADABLE], UNREADABLE),
            (unread_as[PASSED_OVER], PASSED_OVER),
            (unread_as[NOT_READ], NOT_READ),
        )
        said = [f"{self._found:,} with remote threads"] if self._judges else []
        said += [f"{count:,} {what}" for count, what in counts if count]
        return f"{total:,} inputs: {', '.join(said)}" if said else None
