"""The processes of which something was known, and then forgotten because memory is bounded."""

from __future__ import annotations

from typing import Final

from etwdetect.core.bounded import BoundedMap

FORGOTTEN: Final = "it was known, and forgotten for want of room"
PERHAPS_FORGOTTEN: Final = "it is not told, or it was forgotten for want of room"


class ForgottenProcesses:
    """Keeps the ids of at most *bound* processes; beyond that, any process may have been forgotten."""

    def __init__(self, bound: int) -> None:
        self._pids: BoundedMap[int, None] = BoundedMap(bound)
        self._many = False

    def add(self, pid: int) -> None:
        """Take that what was known of process *pid* is forgotten."""
        self._many |= bool(self._pids.put(pid, None))

    def add_any(self) -> None:
        """Take that something is forgotten, of whatever processes."""
        self._many = True

    def discard(self, pid: int) -> None:
        """Take that the process *pid* exited, or that the id was used again."""
        self._pids.pop(pid)

    def why(self, pid: int) -> str | None:
        """Return the reason why nothing is known of process *pid*; None where it was never known."""
        return FORGOTTEN if pid in self._pids else PERHAPS_FORGOTTEN if self._many else None
