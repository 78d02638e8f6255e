"""Gives an enricher the images of the processes of a remote thread, when there is one and not before."""

from __future__ import annotations

from collections import deque
from itertools import chain
from typing import TYPE_CHECKING, Final

from etwdetect.core.events import Loss, ProcessStart, ProcessStop
from etwdetect.sources.decode import Decoder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etwdetect.core.events import Event
    from etwdetect.core.rule import RemoteThread
    from etwdetect.enrich.detection import Detection
    from etwdetect.enrich.enricher import Enricher
    from etwdetect.offline.deferred_images import ImageLog

_MOST_AT_ONCE: Final = 4096
"""How many events of a process are kept while they are told; the others are decoded a second time."""


class ImageFeed:
    """Tells *enricher* of images out of *log*: those up to a remote thread, and those soon after it.

    The enricher then knows what it would if it had observed all image events in their turn. *damaged* counts those
    that could not be read.
    """

    def __init__(self, log: ImageLog, enricher: Enricher) -> None:
        self.damaged = 0
        self._log = log
        self._enricher = enricher
        self._told: dict[int, int] = {}
        """By process: how many of its image events the enricher has observed or need not."""
        self._due: deque[tuple[int, int]] = deque()
        """For the two processes of each remote thread of late: until when their images matter to it."""
        self._ahead = Decoder(self._note_damage, images=True)
        self._in_turn = Decoder(lambda *_: None, images=True)

    def settled(self, event: Event | None) -> Iterator[Detection]:
        """Yield what has settled before *event*, the next in time order, or all that is left."""
        while self._due and (event is None or self._due[0][0] < event.time):
            until = self._due[0][0]
            while self._due and self._due[0][0] == until:
                self._tell(self._due.popleft()[1], until)
            yield from self._enricher.take(until)
        if self._due and isinstance(event, ProcessStart | ProcessStop):
            self._tell(event.pid, event.time - 1)

    def found(self, thread: RemoteThread) -> None:
        """Take the remote thread that the last event is, before the enricher does."""
        for pid in self._enricher.involved(thread):
            self._tell(pid, thread.time)
        until = thread.time + self._enricher.grace_period
        self._due += (until, thread.creator_pid), (until, thread.pid)

    def _tell(self, pid: int, until: int) -> None:
        known = [] if pid in self._told else self._foresee(pid, until)
        told = self._told.setdefault(pid, 0)
        later = ((raw.time, self._in_turn.decode(raw)) for raw in self._log.of(pid, told + len(known)))
        since = self._enricher.since(pid)
        for time, event in chain(known, later):
            if time > until:
                break
            self._told[pid] += 1
            if time >= since and event is not None:
                self._enricher.observe(event)

    def _foresee(self, pid: int, until: int) -> list[tuple[int, Event | None]]:
        """Tell the enricher ahead of all images of *pid*; return the first of them and their times."""
        first: list[tuple[int, Event | None]] = []
        for raw in self._log.of(pid):
            event = self._ahead.decode(raw)
            if event is not None:
                self._enricher.prescan(event)
            if len(first) < _MOST_AT_ONCE:
                first.append((raw.time, event))
        if not self._log.complete:
            self._enricher.observe(Loss(until, 1))
        return first

    def _note_damage(self, _offset: int, _what: str) -> None:
        self.damaged += 1
        self._enricher.observe(Loss(0, 1))
