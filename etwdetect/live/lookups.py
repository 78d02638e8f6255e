"""What a remote thread's own events do not tell, asked of the system when the thread is found."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

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
_SAME_ANSWER_SECONDS: Final = 1.0

Told = ProcessRundown | ProcessStop | ImageLoad


def live_enricher(
    detector: Detector, settle: int, files: ImageFiles | None = None, kinds: Kinds | None = None
) -> Enricher:
    """Return an Enricher that knows this machine: its name and its drives."""
    source = "the session" if detector == "etw" else "the driver"
    enricher = Enricher(detector, settle=settle, source=source, host=system.host(), files=files, kinds=kinds)
    for volume in system.volumes(0):
        enricher.observe(volume)
    return enricher


class _Pids:
    """Process ids, at most _MOST_KNOWN: of more, the one added longest ago goes."""

    def __init__(self) -> None:
        self._pids: OrderedDict[int, None] = OrderedDict()

    def add(self, pid: int) -> bool:
        """Add *pid*; return whether it is new."""
        if pid in self._pids:
            return False
        self._pids[pid] = None
        if len(self._pids) > _MOST_KNOWN:
            self._pids.popitem(last=False)
        return True

    def discard(self, pid: int) -> None:
        self._pids.pop(pid, None)

    def __contains__(self, pid: int) -> bool:
        return pid in self._pids


class Lookups:
    """Asks for both processes of a remote thread and for their parents, once for each life of a process.

    The modules are asked for only of a target that was not seen to start: of any other the events tell them all.

    Without *events* of processes, as the driver has none, nobody tells when a life ends: then it asks again after
    a second, and says of a process that is gone that it has stopped.
    """

    def __init__(self, *, events: bool = True) -> None:
        self._events = events
        self._next_asking = 0.0
        self._born = _Pids()
        self._asked = _Pids()

    def observe(self, event: Event) -> None:
        """Take the next event in time order."""
        match event:
            case ProcessStart(pid=pid):
                self._born.add(pid)
                self._asked.discard(pid)
            case ProcessStop(pid=pid):
                self._born.discard(pid)
                self._asked.discard(pid)

    def about(self, thread: RemoteThread) -> Iterator[Told]:
        """Yield what the system tells of the processes of *thread*, as events of its time."""
        if not self._events and time.monotonic() >= self._next_asking:
            self._next_asking = time.monotonic() + _SAME_ANSWER_SECONDS
            self._asked = _Pids()
        for pid in (thread.creator_pid, thread.pid):
            if not self._asked.add(pid):
                continue
            found = _process_at(thread.time, pid)
            if found is not None:
                yield from self._parent(found)
                yield found
                if pid == thread.pid and pid not in self._born:
                    yield from system.modules(pid, thread.time)
            elif not self._events:
                yield ProcessStop(thread.time - 1, pid)

    def _parent(self, child: ProcessRundown) -> Iterator[ProcessRundown]:
        if child.parent_pid is not None and self._asked.add(child.parent_pid):
            found = _process_at(child.time, child.parent_pid)
            if found is not None:
                yield found


def _process_at(time: int, pid: int) -> ProcessRundown | None:
    """Return what the system tells of *pid*, unless that is of a process that began after *time*."""
    found = system.process(pid, time)
    if found is None or (found.create_time is not None and found.create_time > time):
        return None
    return found


class DriverRecords:
    """Turns the driver's records into detections, with what this machine tells of their processes.

    *files* are the image files to find functions in, *kinds* the rules for kinds.
    """

    def __init__(self, files: ImageFiles | None = None, kinds: Kinds | None = None) -> None:
        self._enricher = live_enricher("driver", 0, files, kinds)
        self._lookups = Lookups(events=False)

    def detections(self, record: RemoteThread) -> Iterator[Detection]:
        """Yield the detection that *record* is."""
        for told in self._lookups.about(record):
            self._enricher.observe(told)
        self._enricher.add(record)
        yield from self._enricher.take()
