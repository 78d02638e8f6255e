"""Filters on what is shown. They never reach the rule, which sees every event."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from etwdetect.enrich.kind_rules import SEVERITIES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from etwdetect.core.rule import RemoteThread
    from etwdetect.enrich.detection import Detection


@dataclass(frozen=True)
class Filter:
    """Passes remote threads from FILETIME *since* on and before *until*, of the given processes.

    An empty set of process ids passes all; *pids* match on either side. *min_severity* is looked at apart, once
    the severity is final.
    """

    since: int | None = None
    until: int | None = None
    pids: frozenset[int] = frozenset()
    source_pids: frozenset[int] = frozenset()
    target_pids: frozenset[int] = frozenset()
    min_severity: str | None = None

    def passes(self, thread: RemoteThread) -> bool:
        """Whether *thread* is to be shown."""
        return (
            (self.since is None or thread.time >= self.since)
            and (self.until is None or thread.time < self.until)
            and (not self.pids or not self.pids.isdisjoint((thread.creator_pid, thread.pid)))
            and (not self.source_pids or thread.creator_pid in self.source_pids)
            and (not self.target_pids or thread.pid in self.target_pids)
        )

    def is_severe(self, detection: Detection) -> bool:
        """Whether the severity of *detection* is *min_severity* or above; one that is not known passes."""
        if self.min_severity is None or detection.severity not in SEVERITIES:
            return True
        return SEVERITIES.index(detection.severity) <= SEVERITIES.index(self.min_severity)


class SeverityFilter:
    """A processor that drops what *wanted* finds not severe enough; `dropped` counts them."""

    def __init__(self, wanted: Filter) -> None:
        self.dropped = 0
        self._wanted = wanted

    def add(self, detection: Detection) -> Iterable[Detection]:
        """Return *detection* if it is severe enough."""
        if self._wanted.is_severe(detection):
            return (detection,)
        self.dropped += 1
        return ()

    def release(self, now: int | None) -> Iterable[Detection]:  # noqa: ARG002 (none is held)
        """Return nothing: none is held."""
        return ()
