"""Gives the enrichment the image events of a remote thread's processes, once there is one and not before."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from typing import TYPE_CHECKING, Final

from etwdetect.core.bounded import BoundedMap
from etwdetect.core.events import ImageLoad, ImageUnload, Loss, ProcessStart, ProcessStop
from etwdetect.enrich.enricher import MOST_PENDING
from etwdetect.enrich.process_tracker import MOST_PROCESSES
from etwdetect.sources.decode import Decoder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etwdetect.core.events import Event
    from etwdetect.core.rule import RemoteThread
    from etwdetect.enrich.enricher import Enricher
    from etwdetect.offline.deferred_images import DeferredImages, Part
    from etwdetect.offline.deferred_stacks import DeferredStacks

_MOST_AT_ONCE: Final = 4096
"""How many events of a process are looked at together."""
_MOST_KEPT: Final = 1 << 15
"""How many events are kept for the next look at their process."""
_FIRST_ALONE: Final = 8
"""How many events are observed one by one before the rest is tried in columns again; then four times as many."""
_NEVER: Final = 1 << 64


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
        self._next: dict[int, tuple[int, int]] = {}
        """By process: the number and time of the first of its image events that is not replayed."""
        self._parts: BoundedMap[int, Part] = BoundedMap(MOST_PROCESSES, _MOST_KEPT)
        """The images of processes that were looked at last."""
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
        if pid not in self._next:
            self._prescan(pid, until)
        number, time = self._next[pid]
        if time > until:
            return
        since = self._enricher.since(pid)
        while time <= until:
            part = self._part(pid, number)
            last = bisect_right(part.times, until)
            self._observe(part, max(number - part.first, bisect_left(part.times, since)), last)
            number = part.first + last
            if last == len(part.times):
                part = self._part(pid, number)
            time = part.times[number - part.first] if number - part.first < len(part.times) else _NEVER
        self._next[pid] = number, time
        if time == _NEVER:
            self._parts.pop(pid)

    def _part(self, pid: int, number: int) -> Part:
        """Return the part of the images of *pid* that event *number* is in."""
        first = number - number % _MOST_AT_ONCE
        part = self._parts.get(pid)
        if part is None or part.first != first:
            part = self._images.part(pid, first, _MOST_AT_ONCE)
            self._parts.put(pid, part, len(part.times))
        return part

    def _observe(self, part: Part, first: int, last: int) -> None:
        """Let the enricher observe the events of *part* from one number to before another."""
        alone = _FIRST_ALONE
        while first < last:
            if part.columns is not None and self._enricher.observe_images(part.columns.between(first, last)):
                return
            # A process whose program is not known yet finds it among its first images.
            until = min(first + alone, last) if part.columns is not None else last
            for number in range(first, until):
                event = part.events[number] if part.events else self._decoded(part, number)
                if event is not None:
                    self._enricher.observe(event)
            first, alone = until, alone * 4

    def _decoded(self, part: Part, number: int) -> Event | None:
        return self._replay_decoder.decode(self._images.at(part.places[number]))

    def _prescan(self, pid: int, until: int) -> None:
        """Show the enricher all images of *pid* ahead of time."""
        seen: set[int] = set()
        number = 0
        while True:
            part = self._part(pid, number)
            if number == 0:
                self._next[pid] = 0, part.times[0] if part.times else _NEVER
            if part.columns is None or not self._enricher.prescan_images(part.columns, seen):
                events = [self._prescan_decoder.decode(self._images.at(place)) for place in part.places]
                for event in events:
                    if isinstance(event, ImageLoad | ImageUnload) and event.base not in seen:
                        self._enricher.prescan(event)
                self._parts.put(pid, part._replace(events=events), len(events))
            number += len(part.times)
            if len(part.times) < _MOST_AT_ONCE:
                break
        if self._images.cut:
            self._enricher.forget_images()
        if self._images.damaged:
            self._enricher.observe(Loss(until, 1))

    def _note_damage(self, _offset: int, _what: str) -> None:
        self.damaged += 1
        self._enricher.observe(Loss(0, 1))
