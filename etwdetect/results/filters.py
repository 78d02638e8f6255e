"""Filters on what is shown. They never reach the rule, which sees every event."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from etwdetect.core.rule import RemoteThread


@dataclass(frozen=True)
class Filter:
    """Passes remote threads from FILETIME *since* on and before *until*, of the given processes.

    An empty set of process ids passes all; *pids* match on either side.
    """

    since: int | None = None
    until: int | None = None
    pids: frozenset[int] = frozenset()
    source_pids: frozenset[int] = frozenset()
    target_pids: frozenset[int] = frozenset()

    def passes(self, thread: RemoteThread) -> bool:
        """Whether *thread* is to be shown."""
        return (
            (self.since is None or thread.time >= self.since)
            and (self.until is None or thread.time < self.until)
            and (not self.pids or not self.pids.isdisjoint((thread.creator_pid, thread.pid)))
            and (not self.source_pids or thread.creator_pid in self.source_pids)
            and (not self.target_pids or thread.pid in self.target_pids)
        )
