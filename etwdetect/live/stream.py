"""Turns live events, as the callback queued them, into detections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from etwdetect.core.consistency import Consistency
from etwdetect.core.events import CallStack, ImageLoad, ImageUnload, Loss, ProcessStart, ProcessStop, ThreadStart
from etwdetect.core.filetime import TICKS_PER_SECOND
from etwdetect.core.rule import DEFAULT_BOUND, EXCLUDED_PIDS, RemoteThreadRule
from etwdetect.live.callback import raw_event
from etwdetect.live.deferred_images import DeferredImages
from etwdetect.live.images import image_event
from etwdetect.live.stacks import LiveStacks
from etwdetect.live.window import ReorderWindow
from etwdetect.pipeline import Pipeline
from etwdetect.sources.decode import Decoder

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterable, Iterator

    from etwdetect.core.events import Event
    from etwdetect.core.raw import RawEvent
    from etwdetect.core.rule import RemoteThread
    from etwdetect.enrich.detection import Detection
    from etwdetect.enrich.enricher import Enricher
    from etwdetect.live.callback import Fields
    from etwdetect.live.lookups import Lookups

WINDOW_SECONDS: Final = 0.1
"""How late an event may come. On real traces, a process start and the start of its first thread are up to 1 ms
apart where they happen on two processors, and up to 11 ms where an endpoint product inspects each."""

PER_PROCESSOR_SECONDS: Final = 0.3
"""The same where each processor has its own buffers, which Windows delivers up to a flush timer (0.1 s) apart."""

GRACE_PERIOD: Final = 200_000
"""20 ms, in 100 ns units: how long after a thread's start an image event may still name its module."""


class Stream:
    """Decodes and sorts live events and runs them through the rule; `release` yields the detections.

    *session_start* is the FILETIME at which the session began, *delay* how long, in 100 ns units, Windows may take
    to deliver an event. *lookups* ask the system about each remote thread, and *enricher* gets the answers. *tap*
    is called in each turn with the events, in order, those of images and the answers among them. *bound* is that
    of the new-process table.
    """

    def __init__(  # noqa: PLR0913 (what a monitor has)
        self,
        session_start: int,
        delay: int,
        enricher: Enricher,
        lookups: Lookups,
        tap: Callable[[list[Event]], object] | None = None,
        *,
        bound: int = DEFAULT_BOUND,
    ) -> None:
        self._pipeline = Pipeline(RemoteThreadRule(bound, session_start), enricher, self._look_around)
        self.rule = self._pipeline.rule
        self.window = ReorderWindow(WINDOW_SECONDS)
        self.lost = Loss(session_start, 0)
        """What was lost so far."""
        self._damaged = 0
        self._decoder = Decoder(self._note_damage, images=True)
        # What is tapped is decoded, and told to be damaged, before it is deferred.
        self._image_decoder = self._decoder if tap is None else Decoder(lambda *_: None, images=True)
        self._consistency = Consistency()
        self._enricher = enricher
        self._images = DeferredImages()
        self._stacks = LiveStacks()
        self._tap = tap
        self._tapped: list[Event] = []
        """What *tap* is to be called with."""
        self._lookups = lookups
        self._delay = delay

    @property
    def damaged(self) -> int:
        """How many events had a payload too short for its version."""
        return self._damaged + (self._images.damaged if self._tap is None else 0)

    @property
    def contradictions(self) -> Counter[str]:
        """How many events contradict others, by evidence."""
        return self.rule.contradictions + self._enricher.contradictions

    @property
    def unknown_versions(self) -> Counter[tuple[str, int]]:
        """The number of events of a version newer than any known layout, by (kind, version)."""
        return self._decoder.unknown_versions

    def add(self, raws: list[RawEvent], images: list[Fields], now: float) -> int:
        """Take what was delivered by *now*, in seconds; return how many of the events report a lost event."""
        for pid in self._images.put(images):
            self._observe_images(pid)
        events = list(self._decoded(raws))
        if self._tap is not None:
            events += self._decoded_images(images)
        losses = self._decoder.counts.pop("LostEvents", 0)
        if losses:
            events = [event for event in events if not isinstance(event, Loss)]
        self.window.add(events, now)
        return losses

    def _decoded(self, raws: Iterable[RawEvent]) -> Iterator[Event]:
        decode = self._decoder.decode
        for raw in raws:
            event = decode(raw)
            if raw.stacks:
                stack = self._stacks.take(raw, event)
                if stack is not None:
                    yield stack
            if event is not None:
                yield event

    def _decoded_images(self, images: list[Fields]) -> list[Event]:
        """Return the events of *images*."""
        decode = self._decoder.decode
        return [event for each in images if (event := image_event(each) or decode(raw_event(each))) is not None]

    def know(self, events: Iterable[Event]) -> None:
        """Take the processes that were there before the session: they come before all that the window holds."""
        for event in self._consistency.checked(events):
            self._observe(event)

    def lose(self, loss: Loss) -> None:
        """Take a loss of events: every detection that is not released yet carries it as evidence."""
        self.lost = Loss(loss.time, self.lost.events + loss.events, self.lost.buffers + loss.buffers)
        self._tapped.append(loss)
        self._pipeline.observe(loss)
        self._consistency.lose()

    def release(self, now: float | None = None, time: int | None = None) -> Iterator[Detection]:
        """Yield the detections up to *now*, in seconds, which is the FILETIME *time*; all without both."""
        events = self.window.release(now)
        if self._tap is not None:
            events = self._without_images(events)
        for event in self._consistency.checked(events):
            self._observe(event)
        behind = self._delay + round(self.window.width * TICKS_PER_SECOND)
        yield from self._pipeline.take(None if time is None else time - behind)
        if self._tap is not None:
            self._tap(self._tapped)
        self._tapped = []

    def _without_images(self, events: Iterator[Event]) -> Iterator[Event]:
        """Yield *events* but images: those are deferred for the enricher, whether they are tapped or not."""
        for event in events:
            if isinstance(event, (ImageLoad, ImageUnload)):
                self._tapped.append(event)
            else:
                yield event

    def _observe(self, event: Event) -> None:
        if isinstance(event, CallStack):
            event = self._stacks.completed(event)
        self._tapped.append(event)
        if isinstance(event, (ProcessStart, ProcessStop)):
            self._images.drop(event.pid, event.time)
        elif isinstance(event, ThreadStart) and self._enricher.is_another_creator(event):
            self._images.drop(event.creator_pid, event.time - 1)
            self._lookups.observe(ProcessStop(event.time - 1, event.creator_pid))
        self._lookups.observe(event)
        self._pipeline.observe(event)

    def _look_around(self, thread: RemoteThread) -> None:
        """Show the enricher what it must know of *thread*: images of both processes, and the system's answers."""
        if self._images.cut:
            self._enricher.forget_images()
        self._observe_images(thread.pid, thread.time + GRACE_PERIOD)
        has_stack = self._enricher.has_stack(thread)
        if has_stack or self._enricher.lacks_path(thread.creator_pid, thread.time):
            self._observe_images(thread.creator_pid, thread.time)
        in_kernel = self._enricher.involved(thread) >= EXCLUDED_PIDS
        if in_kernel:
            for pid in EXCLUDED_PIDS:
                self._observe_images(pid, thread.time)
        for answer in self._lookups.about(thread, creators_modules=has_stack, kernel=in_kernel):
            self._tapped.append(answer)
            self._enricher.observe(answer)

    def _observe_images(self, pid: int, until: int | None = None) -> None:
        for raw in self._images.take(pid, until):
            event = self._image_decoder.decode(raw)
            if event is not None:
                self._enricher.observe(event)

    def _note_damage(self, _offset: int, _what: str) -> None:
        self._damaged += 1
