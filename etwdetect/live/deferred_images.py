"""Keeps image events undecoded: they are most of a session's events, and few processes' are ever needed.

A program maps some fifty images when it starts. Decoding these events and keeping a module map for each process
would cost five times as much as deferring them.
"""

from __future__ import annotations

from operator import attrgetter
from struct import error
from typing import TYPE_CHECKING, Final

from etwdetect.core.bounded import BoundedMap
from etwdetect.core.raw import KERNEL_PROCESS
from etwdetect.live.callback import raw_event
from etwdetect.sources.decode import IMAGE_PIDS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from etwdetect.core.raw import RawEvent
    from etwdetect.live.callback import Fields

MOST: Final = 131_072
"""The most events kept for all processes, about 40 MB. A busy machine has 30,000 images mapped."""

MOST_OF_ONE: Final = 4096
"""The most events kept for one process; no ordinary process has as many images."""

MOST_PROCESSES: Final = 65_536

_LOAD_ID: Final = 5
_LOAD_OPCODES: Final = frozenset((3, 10))
"""Of classic events: 3 lists an image when a system logger starts, 10 is its mapping."""

_ID: Final = 1
_OPCODE: Final = 3
_TIME: Final = 4
_POINTER_SIZE: Final = 7
_PAYLOAD: Final = 8
"""Indexes into Fields."""


class DeferredImages:
    """Keeps image events by process.

    A process is kept from its first mapping until it is dropped; an unmapping before or after that is ignored.
    """

    def __init__(self) -> None:
        self.cut = False
        """Whether events were forgotten, because there were too many processes."""
        self.damaged = 0
        """The number of events whose payload is too short for a process id."""
        self._by_pid: BoundedMap[int, list[Fields]] = BoundedMap(MOST_PROCESSES)
        self._count = 0

    def __len__(self) -> int:
        """Return the number of events kept."""
        return self._count

    def put(self, images: Iterable[Fields]) -> list[int]:
        """Keep *images*; return the ids of the processes to take, because a limit is reached."""
        by_pid, over_limit = self._by_pid, []
        for fields in images:
            try:
                (pid,) = IMAGE_PIDS[fields[_POINTER_SIZE]](fields[_PAYLOAD])
            except error:
                self.damaged += 1
                continue
            kept = by_pid.get(pid)
            if kept is None:
                if not _is_load(fields):
                    continue
                kept = []
                self._put(pid, kept)
            kept.append(fields)
            self._count += 1
            if len(kept) == MOST_OF_ONE:
                over_limit.append(pid)
        return over_limit + self._longest()

    def take(self, pid: int, until: int | None = None) -> list[RawEvent]:
        """Remove and return the events of *pid* up to the FILETIME *until*, in time order."""
        kept = self._by_pid.get(pid) or []
        taken = [raw_event(fields) for fields in kept if until is None or fields[_TIME] <= until]
        if taken:
            kept[:] = [fields for fields in kept if until is not None and fields[_TIME] > until]
            self._count -= len(taken)
        return sorted(taken, key=attrgetter("time"))

    def drop(self, pid: int, until: int) -> None:
        """Discard the events of *pid* up to its exit at the FILETIME *until*; the id may be reused."""
        kept = self._by_pid.pop(pid)
        if kept:
            self._count -= len(kept)
            self.put(fields for fields in kept if fields[_TIME] > until)

    def _put(self, pid: int, kept: list[Fields]) -> None:
        for _, evicted in self._by_pid.put(pid, kept):
            self._count -= len(evicted)
            self.cut |= bool(evicted)

    def _longest(self) -> list[int]:
        """Return the processes with the most events, enough to free half of the limit for all."""
        if self._count < MOST:
            return []
        count, found = 0, []
        by_pid = self._by_pid
        for pid in sorted(by_pid, key=lambda pid: len(by_pid[pid]), reverse=True):
            found.append(pid)
            count += len(by_pid[pid])
            if count >= MOST // 2:
                break
        return found


def _is_load(fields: Fields) -> bool:
    return fields[_ID] == _LOAD_ID if fields[0] == KERNEL_PROCESS else fields[_OPCODE] in _LOAD_OPCODES
