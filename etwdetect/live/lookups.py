"""Looks up in the system, when a remote thread is found, what its events do not say."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from etwdetect.core.bounded import BoundedMap
from etwdetect.core.events import ImageLoad, ProcessRundown, ProcessStart, ProcessStop
from etwdetect.enrich.enricher import Enricher
from etwdetect.live import system

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etwdetect.core.events import Event
    from etwdetect.core.rule import RemoteThread
    from etwdetect.enrich.detection import Detection, Detector
    from etwdetect.enrich.imagefiles import ImageFiles
    from etwdetect.enrich.kinds import Kinds

_MOST_KNOWN: Final = 65_536
_REPEAT_SECONDS: Final = 1.0

LookedUp = ProcessRundown | ProcessStop | ImageLoad


def live_enricher(
    detector: Detector, grace_period: int, files: ImageFiles | None = None, kinds: Kinds | None = None
) -> Enricher:
    """Return an Enricher for this machine, which knows its name and its drives."""
    source = "the session" if detector == "etw" else "the driver"
    enricher = Enricher(
        detector, grace_period=grace_period, source=source, host=system.host(), files=files, kinds=kinds
    )
    for volume in system.volumes(0):
        enricher.observe(volume)
    return enricher


class Lookups:
    """Looks up both processes of a remote thread and their parents, once for each process.

    Modules are looked up only of a process that was not seen to start: of a target and, where there is a call
    stack, of its creator. For any other the events have them all. The kernel's images are looked up once: of those
    it loads later the events tell.

    Without process *events*, which the driver does not have, no exits are known: then a process is looked up again
    after a second, and one that has exited yields a ProcessStop.
    """

    def __init__(self, *, events: bool = True) -> None:
        self._events = events
        self._next_repeat = 0.0
        self._seen_to_start: BoundedMap[int, None] = BoundedMap(_MOST_KNOWN)
        self._looked_up: BoundedMap[int, None] = BoundedMap(_MOST_KNOWN)
        self._knows_kernel = False

    def observe(self, event: Event) -> None:
        """Take the next event in time order."""
        match event:
            case ProcessStart(pid=pid):
                self._seen_to_start.put(pid, None)
                self._looked_up.pop(pid)
            case ProcessStop(pid=pid):
                self._seen_to_start.pop(pid)
                self._looked_up.pop(pid)

    def about(
        self, thread: RemoteThread, *, creators_modules: bool = False, kernel: bool = False
    ) -> Iterator[LookedUp]:
        """Yield what the system says about the processes of *thread*, as events at its time.

        With *creators_modules*, also the modules of its creator; with *kernel*, also the kernel's images.
        """
        if kernel and not self._knows_kernel:
            self._knows_kernel = True
            yield from system.kernel_images(thread.time)
        if not self._events and time.monotonic() >= self._next_repeat:
            self._next_repeat = time.monotonic() + _REPEAT_SECONDS
            self._looked_up = BoundedMap(_MOST_KNOWN)
        asked = {thread.pid, thread.creator_pid} if creators_modules else {thread.pid}
        for pid in (thread.creator_pid, thread.pid):
            if not self._is_new(pid):
                continue
            found = _process_at(thread.time, pid)
            if found is not None:
                yield from self._parent(found)
                yield found
                if pid in asked and pid not in self._seen_to_start and not system.is_guarded(found.image):
                    yield from system.modules(pid, thread.time)
            elif not self._events:
                yield ProcessStop(thread.time - 1, pid)

    def _is_new(self, pid: int) -> bool:
        if pid in self._looked_up:
            return False
        self._looked_up.put(pid, None)
        return True

    def _parent(self, child: ProcessRundown) -> Iterator[ProcessRundown]:
        if child.parent_pid is not None and self._is_new(child.parent_pid):
            found = _process_at(child.time, child.parent_pid)
            if found is not None:
                yield found


def _process_at(time: int, pid: int) -> ProcessRundown | None:
    """Return what the system says about *pid*, unless that process started after *time*."""
    found = system.process(pid, time)
    if found is None or (found.create_time is not None and found.create_time > time):
        return None
    return found


class DriverRecords:
    """Turns the driver's records into detections, with what this machine says about their processes.

    *files* are the image files to look up functions in, *kinds* the rules that assign kinds.
    """

    def __init__(self, files: ImageFiles | None = None, kinds: Kinds | None = None) -> None:
        self._enricher = live_enricher("driver", 0, files, kinds)
        self._lookups = Lookups(events=False)

    def detections(self, record: RemoteThread) -> Iterator[Detection]:
        """Yield the detection of *record*."""
        for event in self._lookups.about(record):
            self._enricher.observe(event)
        self._enricher.add(record)
        yield from self._enricher.take()
