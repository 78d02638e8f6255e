"""Process start keys of the creators of threads: a process id that is used again has another key.

No two processes of a boot have the same key. So where the exit of a creator and the start of the next process with
its id were lost, the key of a thread that this one creates still tells them apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from etwdetect.core.bounded import BoundedMap

if TYPE_CHECKING:
    from etwdetect.core.events import ThreadStart

MOST_PROCESSES: Final = 65_536
MOST_WAITING: Final = 4096
"""How many keys of thread starts are held that wait in the reorder window; one that is forgotten tells nothing."""

_Of = tuple[int, int, int]


class CreatorKeys:
    """Keeps the key of each process that created a thread."""

    def __init__(self) -> None:
        self._coming: BoundedMap[_Of, int] = BoundedMap(MOST_WAITING)
        self._of: BoundedMap[int, int] = BoundedMap(MOST_PROCESSES)

    def take(self, start: ThreadStart, key: int) -> None:
        """Take the *key* in the header of *start*, which is its creator's; starts may come in any order."""
        self._coming.put(start[:3], key)

    def is_another(self, start: ThreadStart) -> bool:
        """Whether the creator of *start*, the next in time order, is not the process that had its id before."""
        key = self._coming.pop(start[:3])
        if key is None:
            return False
        known = self._of.get(start.creator_pid)
        self._of.put(start.creator_pid, key)
        return known is not None and known != key

    def forget(self, pid: int) -> None:
        """Take that the process *pid* started or exited, in time order."""
        self._of.pop(pid)
