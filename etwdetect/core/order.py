"""Sorts the events of a whole trace by time, in bounded memory.

ETW keeps a buffer for each CPU, so the order of a file is not the order of time. Events beyond the memory limit
go to a temporary file in sorted runs, which are merged when they are read back (external merge sort).
"""

from __future__ import annotations

import heapq
import weakref
from typing import TYPE_CHECKING, Final

from etwdetect.core.events import Event, Loss, ProcessStart, ProcessStop, ThreadStart

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import IO

DEFAULT_LIMIT: Final = 50_000
"""How many events are kept in memory: some 25 MB."""

_MOST_RUNS: Final = 32
"""How many runs are merged into a longer one; each is an open file with one block of events in memory."""

_BLOCK: Final = DEFAULT_LIMIT // _MOST_RUNS

# At equal timestamps of a coarse clock, a process exits before its id is reused and starts before its first
# thread. Events that the rule ignores come before thread starts, so that a name of the same tick is known.
_RANKS: Final = {Loss: 0, ProcessStop: 1, ProcessStart: 2, ThreadStart: 4}
_OTHER_RANK: Final = 3


def order_of(event: Event) -> tuple[int, int]:
    """Return the sort key: time, then process exit before process start before thread start.

    Events with equal keys keep the order in which they were added.
    """
    return event.time, _RANKS.get(type(event), _OTHER_RANK)


class EventSorter:
    """Takes events in any order and yields them sorted by `order_of`; at most *limit* are kept in memory."""

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        self._limit = limit
        self._pending: list[Event] = []
        self._levels: list[list[_Run]] = []
        """On each level the runs of one length, _MOST_RUNS times longer than on the level before."""
        self._count = 0

    def __len__(self) -> int:
        """How many events were added."""
        return self._count

    def add(self, event: Event) -> None:
        """Take one event; OSError where the temporary file can't be written."""
        self._pending.append(event)
        self._count += 1
        if len(self._pending) >= self._limit:
            self._pending.sort(key=order_of)
            self._spill(self._pending, 0)
            self._pending = []

    def __iter__(self) -> Iterator[Event]:
        """Yield all events in order; once only."""
        self._pending.sort(key=order_of)
        pending, self._pending = self._pending, []
        runs = [run for level in reversed(self._levels) for run in level]  # the oldest first
        self._levels = []
        return heapq.merge(*runs, pending, key=order_of) if runs else iter(pending)

    def _spill(self, events: Iterable[Event], level: int) -> None:
        if level == len(self._levels):
            self._levels.append([])
        runs = self._levels[level]
        runs.append(_Run(events))
        if len(runs) == _MOST_RUNS:
            self._levels[level] = []
            self._spill(heapq.merge(*runs, key=order_of), level + 1)


class _Run:
    """Sorted events in an anonymous temporary file, which is deleted with this object."""

    def __init__(self, events: Iterable[Event]) -> None:
        import pickle  # noqa: PLC0415 (lazy import: fast start-up)
        import tempfile  # noqa: PLC0415

        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        weakref.finalize(self, self._file.close)  # a run may never be read to its end
        block: list[Event] = []
        for event in events:
            block.append(event)
            if len(block) == _BLOCK:
                pickle.dump(block, self._file, pickle.HIGHEST_PROTOCOL)
                block = []
        if block:
            pickle.dump(block, self._file, pickle.HIGHEST_PROTOCOL)

    def __iter__(self) -> Iterator[Event]:
        import pickle  # noqa: PLC0415

        self._file.seek(0)
        with self._file:
            while True:
                try:
                    # Safe: only this process wrote the file, which has no name or can't be opened by others.
                    block: list[Event] = pickle.load(self._file)  # noqa: S301
                except EOFError:
                    return
                yield from block
