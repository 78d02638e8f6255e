"""Image events as they came, undecoded: most of what a session delivers, and wanted of the fewest processes.

The start of a program maps some fifty images, and nobody asks about most programs. Decoding these events and
keeping a map of them would cost five times as much as putting them aside.
"""

from __future__ import annotations

from collections import OrderedDict
from operator import attrgetter
from struct import error
from typing import TYPE_CHECKING, Final

from etwdetect.core.raw import KERNEL_PROCESS
from etwdetect.live.callback import raw_event
from etwdetect.sources.decode import IMAGE_PIDS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from etwdetect.core.raw import RawEvent
    from etwdetect.live.callback import Fields

MOST: Final = 131_072
"""How many are kept of all processes: some 40 MB. A busy machine has 30,000 images mapped."""

MOST_OF_ONE: Final = 4096
"""How many are kept of one process: no sound one has so many images."""

MOST_PROCESSES: Final = 65_536

_LOAD_ID: Final = 5
_LOAD_OPCODES: Final = frozenset((3, 10))
"""Of classic events; 3 is a listing when a system logger starts."""

_ID: Final = 1
_OPCODE: Final = 3
_TIME: Final = 4
_POINTER_SIZE: Final = 7
_PAYLOAD: Final = 8
"""Of Fields."""


class ImageShelf:
    """Keeps image events by process.

    A process is known from its first mapping on, until it is dropped: an unmapping that comes before, or after,
    tells nothing.
    """

    def __init__(self) -> None:
        self.damaged = 0
        """The events whose payload is too short for a process id."""
        self._shelves: OrderedDict[int, list[Fields]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        """How many events are kept."""
        return self._count

    def put(self, images: Iterable[Fields]) -> list[int]:
        """Keep *images*; return the processes whose events are to be taken, because they are too many."""
        shelves, too_many = self._shelves, []
        for fields in images:
            try:
                (pid,) = IMAGE_PIDS[fields[_POINTER_SIZE]](fields[_PAYLOAD])
            except error:
                self.damaged += 1
                continue
            shelf = shelves.get(pid)
            if shelf is None:
                if not _is_load(fields):
                    continue
                shelf = shelves[pid] = []
            shelf.append(fields)
            self._count += 1
            if len(shelf) == MOST_OF_ONE:
                too_many.append(pid)
        while len(shelves) > MOST_PROCESSES:
            self._count -= len(shelves.popitem(last=False)[1])
        return too_many + self._longest()

    def take(self, pid: int, until: int | None = None) -> list[RawEvent]:
        """Return the events of *pid* up to the FILETIME *until*, in order of time, and keep them no longer."""
        shelf = self._shelves.get(pid, [])
        taken = [raw_event(fields) for fields in shelf if until is None or fields[_TIME] <= until]
        if taken:
            self._shelves[pid] = [fields for fields in shelf if until is not None and fields[_TIME] > until]
            self._count -= len(taken)
        return sorted(taken, key=attrgetter("time"))

    def drop(self, pid: int, until: int) -> None:
        """Forget the life of *pid* that has ended by the FILETIME *until*; its id may be alive again."""
        shelf = self._shelves.pop(pid, None)
        if shelf:
            self._count -= len(shelf)
            self.put(fields for fields in shelf if fields[_TIME] > until)

    def _longest(self) -> list[int]:
        """Return the processes that have most, as many as make room for half of what may be kept."""
        if self._count < MOST:
            return []
        room, found = 0, []
        for pid in sorted(self._shelves, key=lambda pid: len(self._shelves[pid]), reverse=True):
            found.append(pid)
            room += len(self._shelves[pid])
            if room >= MOST // 2:
                break
        return found


def _is_load(fields: Fields) -> bool:
    return fields[_ID] == _LOAD_ID if fields[0] == KERNEL_PROCESS else fields[_OPCODE] in _LOAD_OPCODES
