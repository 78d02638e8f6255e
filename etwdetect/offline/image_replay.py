"""Gives the enrichment the image events of a remote thread's processes, once there is one and not before."""

from __future__ import annotations

from collections import deque
from itertools import chain
from typing import TYPE_CHECKING, Final

from etwdetect.core.events import ImageLoad, Loss, ProcessStart, ProcessStop
from etwdetect.enrich.enricher import MOST_PENDING
from etwdetect.sources.decode import Decoder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etwdetect.core.events import Event
    from etwdetect.core.rule import RemoteThread
    from etwdetect.enrich.enricher import Enricher
    from etwdetect.offline.deferred_images import DeferredImages
    from etwdetect.offline.deferred_stacks import DeferredStacks

_MOST_AT_ONCE: Final = 4096
"""How many events of a process are kept between the prescan and the replay; the rest is decoded twice."""


class ImageReplay:
    """Replays image events out of *images* to *enricher*: those up to a remote thread, and those soon after it.

    Before them it shows the thread's call stack, out of *stacks*.

    The enricher then knows what it would if it had observed all image events in time order. `damaged` counts those
    that could not be read.
    """

    def __init__(self, images: DeferredImages, stacks: DeferredStacks, enricher: Enricher) -> None:
        self.damaged = 0
        self._images = images
        self._stacks = stacks
        self._enricher = enricher
        self._replayed: dict[int, int] = {}
        """By process: how many of its image events the enricher has observed or does not need."""
        self._due: deque[tuple[int, int]] = deque(maxlen=2 * MOST_PENDING)
        """For both processes of each remote thread that waits: the end of its grace period, and the process id."""
        self._prescan_decoder = Decoder(self._note_damage, images=True)
        self._replay_decoder = Decoder(lambda *_: None, images=True)

    def advance(self, event: Event | None) -> Iterator[int]:
        """Replay what is due before *event*, the next in time order; None replays all that is left.

        Yield the end of each grace period that is over: the detections up to there can be taken.
        """
        while self._due and (event is None or self._due[0][0] < event.time):
            until = self._due[0][0]
            while self._due and self._due[0][0] == until:
                self._replay(self._due.popleft()[1], until)
            yield until
        if self._due and isinstance(event, ProcessStart | ProcessStop):
            self._replay(event.pid, event.time - 1)

    def look_around(self, thread: RemoteThread) -> None:
        """Replay the stack and the images that matter to *thread*, the event observed last.

        Call it before `Enricher.add`.
        """
        stack = self._stacks.of(thread)
        if stack is not None:
            self._enricher.observe(stack)
        for pid in self._enricher.involved(thread):
            self._replay(pid, thread.time)
        for parent, pid, since, until in self._enricher.exited_parents(thread):
            for raw in self._images.between(pid, since, until):
                event = self._replay_decoder.decode(raw)
                if isinstance(event, ImageLoad):
                    parent.see(event.image, mapped=True)
        until = thread.time + self._enricher.grace_period
        self._due += (until, thread.creator_pid), (until, thread.pid)

    def _replay(self, pid: int, until: int) -> None:
        prescanned = [] if pid in self._replayed else self._prescan(pid, until)
        replayed = self._replayed.setdefault(pid, 0)
        rest = self._images.of(pid, replayed + len(prescanned))
        decoded = ((raw.time, self._replay_decoder.decode(raw)) for raw in rest)
        since = self._enricher.since(pid)
        for time, event in chain(prescanned, decoded):
            if time > until:
                break
            self._replayed[pid] += 1
            if time >= since and event is not None:
                self._enricher.observe(event)

    def _prescan(self, pid: int, until: int) -> list[tuple[int, Event | None]]:
        """Show the enricher all images of *pid* ahead of time; return the first ones with their times."""
        first: list[tuple[int, Event | None]] = []
        for raw in self._images.of(pid):
            event = self._prescan_decoder.decode(raw)
            if event is not None:
                self._enricher.prescan(event)
            if len(first) < _MOST_AT_ONCE:
                first.append((raw.time, event))
        if self._images.cut:
            self._enricher.forget_images()
        if self._images.damaged:
            self._enricher.observe(Loss(until, 1))
        return first

    def _note_damage(self, _offset: int, _what: str) -> None:
        self.damaged += 1
        self._enricher.observe(Loss(0, 1))
