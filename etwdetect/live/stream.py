"""The way of a live event, from the bytes that the callback took to a detection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from etwdetect.core.events import Loss, ProcessStart, ProcessStop
from etwdetect.core.filetime import TICKS_PER_SECOND
from etwdetect.core.rule import DEFAULT_BOUND, RemoteThreadRule
from etwdetect.live.callback import raw_event
from etwdetect.live.deferred_images import DeferredImages
from etwdetect.live.window import ReorderWindow
from etwdetect.sources.decode import Decoder

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterable, Iterator

    from etwdetect.core.events import Event
    from etwdetect.core.raw import RawEvent
    from etwdetect.enrich.detection import Detection
    from etwdetect.enrich.enricher import Enricher
    from etwdetect.live.callback import Fields
    from etwdetect.live.lookups import Lookups

WINDOW_SECONDS: Final = 0.1
"""How late an event may be. On real traces a process's start and its first thread, on two processors, stand up to
1 ms apart, and up to 11 ms where an endpoint product looks at each."""

GRACE_PERIOD: Final = 200_000
"""20 ms, in 100 ns units: how long after a thread's start an image event may still tell of its module."""


class Stream:
    """Decodes, orders and judges live events; `release` gives the detections.

    *session_start* is the FILETIME at which the session began, *delay* how long, in 100 ns units, an event may be
    on its way until the window has it. *lookups* ask the system about a hit, and *enricher* is told the answers.
    *tap* is given every event in order, also those of images, and the answers. *bound* is that of the new-process
    table.
    """

    def __init__(  # noqa: PLR0913 (what a monitor has)
        self,
        session_start: int,
        delay: int,
        enricher: Enricher,
        lookups: Lookups,
        tap: Callable[[Event], object] | None = None,
        *,
        bound: int = DEFAULT_BOUND,
    ) -> None:
        self.rule = RemoteThreadRule(bound, session_start)
        self.window = ReorderWindow(WINDOW_SECONDS)
        self.lost = Loss(session_start, 0)
        """All that was lost so far."""
        self._damaged = 0
        self._decoder = Decoder(self._note_damage, images=True)
        self._enricher = enricher
        self._images = DeferredImages()
        self._tap = tap
        self._lookups = lookups
        self._behind = delay + round(WINDOW_SECONDS * TICKS_PER_SECOND)

    @property
    def damaged(self) -> int:
        """The events whose payload is too short for its version."""
        return self._damaged + self._images.damaged

    @property
    def counts(self) -> Counter[str]:
        """The events by kind; of images only those that were looked into."""
        return self._decoder.counts

    @property
    def unknown_versions(self) -> Counter[tuple[str, int]]:
        """The events of a version that is newer than any known layout, by kind and version."""
        return self._decoder.unknown_versions

    def add(self, raws: list[RawEvent], images: list[Fields], now: float) -> int:
        """Take what came by *now*, in seconds; return how many events in it say that another one was lost."""
        if self._tap is None:
            for pid in self._images.put(images):
                self._tell_images(pid)
        else:
            raws += map(raw_event, images)
        events = [event for raw in raws if (event := self._decoder.decode(raw)) is not None]
        losses = self._decoder.counts.pop("LostEvents", 0)
        if losses:
            events = [event for event in events if not isinstance(event, Loss)]
        self.window.add(events, now)
        return losses

    def know(self, events: Iterable[Event]) -> None:
        """Take what is known ahead of all that the window still holds: the processes that were there before."""
        for event in events:
            self._judge(event)

    def lose(self, loss: Loss) -> None:
        """Take that events were lost: every detection from now on says so, and so do those that are still held."""
        self.lost = Loss(loss.time, self.lost.events + loss.events, self.lost.buffers + loss.buffers)
        self.rule.observe(loss)
        if self._tap is not None:
            self._tap(loss)
        self._enricher.observe(loss)

    def release(self, now: float | None = None, time: int | None = None) -> Iterator[Detection]:
        """Yield what was found by *now*, which is the FILETIME *time*; without them, all that is left."""
        for event in self.window.release(now):
            self._judge(event)
        yield from self._enricher.take(None if time is None else time - self._behind)

    def _judge(self, event: Event) -> None:
        if self._tap is not None:
            self._tap(event)
        if isinstance(event, (ProcessStart, ProcessStop)):
            self._images.drop(event.pid, event.time)
        self._lookups.observe(event)
        self._enricher.observe(event)
        hit = self.rule.observe(event)
        if hit is not None:
            self._tell_images(hit.pid, hit.time + GRACE_PERIOD)
            for told in self._lookups.about(hit):
                if self._tap is not None:
                    self._tap(told)
                self._enricher.observe(told)
            self._enricher.add(hit)

    def _tell_images(self, pid: int, until: int | None = None) -> None:
        for raw in self._images.take(pid, until):
            event = self._decoder.decode(raw)
            if event is not None:
                self._enricher.observe(event)

    def _note_damage(self, _offset: int, _what: str) -> None:
        self._damaged += 1
