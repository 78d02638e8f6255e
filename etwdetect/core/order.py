"""Puts the events of a whole trace in order of time, in bounded memory.

ETW keeps a buffer for each CPU, so the order of a file is not the order of time. Events beyond what memory may
hold go to a temporary file in sorted runs, which are merged on the way back.
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
"""How many events are held in memory: some 25 MB."""

_MOST_RUNS: Final = 32
"""How many runs are merged into a longer one; each is an open file with a block of its events in memory."""

_BLOCK: Final = DEFAULT_LIMIT // _MOST_RUNS

# At the same tick of a coarse clock: a process must have exited before its id starts anew, and must have
# started before its first thread. What the rule takes no effect from stands before the thread starts, so that
# a name found at the same tick is known.
_RANKS: Final = {Loss: 0, ProcessStop: 1, ProcessStart: 2, ThreadStart: 4}
_OTHER_RANK: Final = 3


def order_of(event: Event) -> tuple[int, int]:
    """Return the key of the design's order: time, then exit before process start before thread start.

    Events with the same key keep the order in which they came.
    """
    return event.time, _RANKS.get(type(event), _OTHER_RANK)


class EventSorter:
    """Takes events in any order and gives them back in `order_of`, holding *limit* at the most in memory."""

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        self._limit = limit
        self._held: list[Event] = []
        self._levels: list[list[_Run]] = []
        """On each level the runs of one length, _MOST_RUNS times longer than on the level before."""
        self._count = 0

    def __len__(self) -> int:
        """How many events were added."""
        return self._count

    def add(self, event: Event) -> None:
        """Take one event; OSError where the temporary file can't be written."""
        self._held.append(event)
        self._count += 1
        if len(self._held) >= self._limit:
            self._held.sort(key=order_of)
            self._spill(self._held, 0)
            self._held = []

    def __iter__(self) -> Iterator[Event]:
        """Yield all events in order; once only."""
        self._held.sort(key=order_of)
        held, self._held = self._held, []
        runs = [run for level in reversed(self._levels) for run in level]  # what came first stands first
        self._levels = []
        return heapq.merge(*runs, held, key=order_of) if runs else iter(held)

    def _spill(self, events: Iterable[Event], level: int) -> None:
        if level == len(self._levels):
            self._levels.append([])
        runs = self._levels[level]
        runs.append(_Run(events))
        if len(runs) == _MOST_RUNS:
            self._levels[level] = []
            self._spill(heapq.merge(*runs, key=order_of), level + 1)


class _Run:
    """Events in order, in a temporary file that no one else can open and that goes with this object."""

    def __init__(self, events: Iterable[Event]) -> None:
        import pickle  # noqa: PLC0415 (a small trace is scanned at once)
        import tempfile  # noqa: PLC0415

        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        weakref.finalize(self, self._file.close)  # a run need not be read to its end, or at all
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
                    # Our own file, and nobody else's: it has no name, or is open to this process alone.
                    block: list[Event] = pickle.load(self._file)  # noqa: S301
                except EOFError:
                    return
                yield from block
