"""Sorts the events of a whole trace by time, in bounded memory.

ETW keeps a buffer for each CPU, so the order of a file is not the order of time. Events beyond the memory limit
go to a temporary file in sorted runs, which are merged when they are read back (external merge sort).
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from etwdetect.core.events import Event, Loss, ProcessStart, ProcessStop, SourceStart, ThreadStart
from etwdetect.core.files import temporary_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_Item = TypeVar("_Item")
_Key = int | tuple[int, int]


DEFAULT_LIMIT: Final = 50_000
"""How many events are kept in memory: some 25 MB."""

_MOST_RUNS: Final = 32
"""How many runs are merged into a longer one; each is an open file with one block of events in memory."""

_BLOCK: Final = DEFAULT_LIMIT // _MOST_RUNS

# At equal timestamps of a coarse clock, a process exits before its id is reused and starts before its first
# thread. Events that the rule ignores come before thread starts, so that a name of the same tick is known.
_RANKS: Final = {SourceStart: 0, Loss: 0, ProcessStop: 1, ProcessStart: 2, ThreadStart: 4}
_OTHER_RANK: Final = 3


def order_of(event: Event) -> tuple[int, int]:
    """Return the sort key: time, then process exit before process start before thread start.

    Events with equal keys keep the order in which they were added.
    """
    return event.time, _RANKS.get(type(event), _OTHER_RANK)


class Sorter(Generic[_Item]):
    """Takes items in any order and yields them sorted by *key*; at most *limit* are kept in memory."""

    def __init__(self, key: Callable[[_Item], _Key], limit: int = DEFAULT_LIMIT) -> None:
        self._key = key
        self._limit = limit
        self._pending: list[_Item] = []
        self._levels: list[list[_Run[_Item]]] = []
        """On each level the runs of one length, _MOST_RUNS times longer than on the level before."""
        self._count = 0

    def __len__(self) -> int:
        """How many items were added."""
        return self._count

    def add(self, item: _Item) -> None:
        """Take one item; OSError where the temporary file can't be written."""
        self._pending.append(item)
        self._count += 1
        if len(self._pending) >= self._limit:
            self._pending.sort(key=self._key)
            self._spill(self._pending, 0)
            self._pending = []

    def __iter__(self) -> Iterator[_Item]:
        """Yield all items in order; once only."""
        self._pending.sort(key=self._key)
        pending, self._pending = self._pending, []
        runs = [run for level in reversed(self._levels) for run in level]  # the oldest first
        self._levels = []
        return heapq.merge(*runs, pending, key=self._key) if runs else iter(pending)

    def _spill(self, items: Iterable[_Item], level: int) -> None:
        if level == len(self._levels):
            self._levels.append([])
        runs = self._levels[level]
        runs.append(_Run(items))
        if len(runs) == _MOST_RUNS:
            self._levels[level] = []
            self._spill(heapq.merge(*runs, key=self._key), level + 1)


class EventSorter(Sorter["Event"]):
    """Takes events in any order and yields them sorted by `order_of`; at most *limit* are kept in memory."""

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        super().__init__(order_of, limit)


class _Run(Generic[_Item]):
    """Sorted items in an anonymous temporary file, which is deleted with this object."""

    def __init__(self, items: Iterable[_Item]) -> None:
        import pickle  # noqa: PLC0415 (lazy import: fast start-up)

        self._file = temporary_file(self)
        block: list[_Item] = []
        for item in items:
            block.append(item)
            if len(block) == _BLOCK:
                pickle.dump(block, self._file, pickle.HIGHEST_PROTOCOL)
                block = []
        if block:
            pickle.dump(block, self._file, pickle.HIGHEST_PROTOCOL)

    def __iter__(self) -> Iterator[_Item]:
        import pickle  # noqa: PLC0415

        self._file.seek(0)
        with self._file:
            while True:
                try:
                    # Safe: only this process wrote the file, which has no name or can't be opened by others.
                    block: list[_Item] = pickle.load(self._file)  # noqa: S301
                except EOFError:
                    return
                yield from block
