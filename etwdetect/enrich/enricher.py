"""Adds to each remote thread what the other events tell of it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from etwdetect.enrich.detection import Detection, Detector, Process
from etwdetect.enrich.names import ProcessNames

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etwdetect.events import Event
    from etwdetect.rule import RemoteThread

SETTLE: Final = 20_000_000
"""Two seconds, in 100 ns units: how long after a thread's start an image event may still tell of its module."""


class Enricher:
    """Follows all events in time order, and turns remote threads into detections.

    Every event is given to `observe`, and every remote thread, right after its event, to `add`; `take` gives
    the detections back in the same order when *settle* (in 100 ns units) has passed. An event that is known
    ahead of its turn may be given to `foresee` before.
    """

    def __init__(self, detector: Detector = "etw", pointer_size: int = 8, settle: int = SETTLE) -> None:
        self._detector = detector
        self._pointer_size = pointer_size
        self._settle = settle
        self._names = ProcessNames()
        self._held: deque[Detection] = deque()

    def foresee(self, event: Event) -> None:
        """Take an event of the same trace before its turn."""
        self._names.foresee(event)

    def observe(self, event: Event) -> None:
        """Take the next event in time order."""
        self._names.observe(event)

    def add(self, thread: RemoteThread) -> None:
        """Take the remote thread that the event observed last is."""
        source, target = (Process(pid, self._names.image(pid)) for pid in (thread.creator_pid, thread.pid))
        self._held.append(Detection(thread, self._detector, source, target, pointer_size=self._pointer_size))

    def take(self, now: int | None = None) -> Iterator[Detection]:
        """Yield what has settled by the FILETIME *now*, or all that is left, in order of time."""
        while self._held and (now is None or self._held[0].thread.time + self._settle <= now):
            yield self._held.popleft()
