"""What a remote thread's own events do not tell, asked of the system when the thread is found."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from etwdetect.enrich.enricher import Enricher
from etwdetect.events import ImageLoad, ProcessRundown, ProcessStart, ProcessStop
from etwdetect.live import system

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etwdetect.enrich.detection import Detector
    from etwdetect.enrich.imagefiles import ImageFiles
    from etwdetect.enrich.kinds import Kinds
    from etwdetect.events import Event
    from etwdetect.rule import RemoteThread

_MOST_KNOWN: Final = 65_536

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

    Without *events* of processes, as the driver has none, nobody tells when a life ends: then it asks each time,
    and says of a process that is gone that it has stopped.
    """

    def __init__(self, *, events: bool = True) -> None:
        self._events = events
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
        if not self._events:
            self._asked = _Pids()
        for pid in (thread.creator_pid, thread.pid):
            found = self._ask(pid, thread.time)
            if found is None:
                if not self._events:
                    yield ProcessStop(thread.time - 1, pid)
                continue
            if found.parent_pid is not None:
                parent = self._ask(found.parent_pid, thread.time)
                if parent is not None:
                    yield parent
            yield found
            if pid == thread.pid and pid not in self._born:
                yield from system.modules(pid, thread.time)

    def _ask(self, pid: int, time: int) -> ProcessRundown | None:
        """Return what the system tells of *pid*, unless it was told before or is of a later process."""
        if not self._asked.add(pid):
            return None
        found = system.process(pid, time)
        if found is None or (found.create_time is not None and found.create_time > time):
            return None
        return found
