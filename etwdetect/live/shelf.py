"""Image events as they came, undecoded: most of what a session delivers, and wanted of the fewest processes.

The start of a program maps some fifty images, and nobody asks about most programs. Decoding these events and
keeping a map of them would cost five times as much as putting them aside.
"""

from __future__ import annotations

from collections import OrderedDict
from operator import attrgetter
from struct import Struct, error
from typing import TYPE_CHECKING, Final

from etwdetect.raw import IMAGE, KERNEL_PROCESS

if TYPE_CHECKING:
    from etwdetect.raw import RawEvent

MOST: Final = 131_072
"""How many are kept of all processes: some 40 MB. A busy machine has 30,000 images mapped."""

MOST_OF_ONE: Final = 4096
"""How many are kept of one process: no sound one has so many images."""

MOST_PROCESSES: Final = 65_536

_LOAD_ID: Final = 5
_UNLOAD_ID: Final = 6
_LOAD_OPCODES: Final = frozenset((3, 10))
"""Of classic events; 3 is a listing when a system logger starts."""

_PIDS: Final = {4: Struct("<8xI"), 8: Struct("<16xI")}
"""By pointer size: in all versions since Windows Vista the process id stands behind two pointers."""


def is_image(raw: RawEvent) -> bool:
    """Whether *raw* tells of an image."""
    if raw.provider == KERNEL_PROCESS:
        return raw.id in (_LOAD_ID, _UNLOAD_ID)
    return raw.provider == IMAGE


class ImageShelf:
    """Keeps image events by process.

    A process is known from its first mapping on, until it is dropped: an unmapping that comes before, or after,
    tells nothing.
    """

    def __init__(self) -> None:
        self.damaged = 0
        """The events whose payload is too short for a process id."""
        self._shelves: OrderedDict[int, list[RawEvent]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        """How many events are kept."""
        return self._count

    def put(self, raw: RawEvent) -> int | None:
        """Keep *raw*; where that is one too many, return the process whose events are to be taken."""
        try:
            pid: int = _PIDS[raw.pointer_size].unpack_from(raw.payload)[0]
        except error:
            self.damaged += 1
            return None
        shelf = self._shelves.get(pid)
        if shelf is None:
            if not _is_load(raw):
                return None
            shelf = self._shelves[pid] = []
            if len(self._shelves) > MOST_PROCESSES:
                self._count -= len(self._shelves.popitem(last=False)[1])
        shelf.append(raw)
        self._count += 1
        if len(shelf) >= MOST_OF_ONE:
            return pid
        return self._longest() if self._count >= MOST else None

    def take(self, pid: int, until: int | None = None) -> list[RawEvent]:
        """Return the events of *pid* up to the FILETIME *until*, in order of time, and keep them no longer."""
        shelf = self._shelves.get(pid, [])
        taken = [raw for raw in shelf if until is None or raw.time <= until]
        if taken:
            self._shelves[pid] = [raw for raw in shelf if until is not None and raw.time > until]
            self._count -= len(taken)
        return sorted(taken, key=attrgetter("time"))

    def drop(self, pid: int, until: int) -> None:
        """Forget the life of *pid* that has ended by the FILETIME *until*; its id may be alive again."""
        shelf = self._shelves.pop(pid, [])
        self._count -= len(shelf)
        for raw in shelf:
            if raw.time > until:
                self.put(raw)

    def _longest(self) -> int:
        return max(self._shelves, key=lambda pid: len(self._shelves[pid]))


def _is_load(raw: RawEvent) -> bool:
    return raw.id == _LOAD_ID if raw.provider == KERNEL_PROCESS else raw.opcode in _LOAD_OPCODES
