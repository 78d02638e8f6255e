"""Adds to each remote thread what the other events tell of it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from etwdetect.core.events import (
    ImageLoad,
    ImageUnload,
    Loss,
    MachineName,
    ProcessRundown,
    ProcessStart,
    ProcessStop,
    ThreadStart,
    VolumeMapping,
)
from etwdetect.core.rule import EXCLUDED_PIDS
from etwdetect.enrich.detection import Detection, Detector
from etwdetect.enrich.fields import END_OF_PROGRAMS
from etwdetect.enrich.kinds import Kinds
from etwdetect.enrich.paths import Paths
from etwdetect.enrich.process import absences, describe
from etwdetect.enrich.process_tracker import Lives
from etwdetect.enrich.starts import StartFinder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from etwdetect.core.events import Event
    from etwdetect.core.rule import RemoteThread
    from etwdetect.enrich.imagefiles import ImageFiles
    from etwdetect.enrich.modules import Module
    from etwdetect.enrich.process_tracker import Life, Told

SETTLE: Final = 20_000_000
"""Two seconds, in 100 ns units: how long after a thread's start an image event may still tell of its module."""


class Enricher:
    """Follows all events in time order, and turns remote threads into detections.

    Every event is given to `observe`, and every remote thread, right after its event, to `add`; `take` gives
    the detections back in the same order when *settle* (in 100 ns units) has passed. An event that is known
    ahead of its turn may be given to `foresee` before. Image events may come late: those of the processes
    `involved` in a remote thread, from `since` their lives began, before it is added.

    *source* is what to call the teller of all this where it did not tell something. *machine* stands for the
    machine in ProcessGuids where its name is not known; *host* is that name. *files* are the image files to find
    functions in, *kinds* the rules for kinds.

    **Live code** gives what it asks the system as events too, before `add`: for the creator and the target a
    ProcessRundown with a create_time (another create_time means another life of the id), for the target an
    ImageLoad with *rundown* for **each** of its images (a start outside of them is then said to be outside of any
    image), a VolumeMapping for each drive and a MachineName once. `knows` says what need not be asked. Their times
    are that of the remote thread. What can't be asked, because the process is gone, is left out: it will be
    absent. A source without events of processes, such as the driver, asks about both each time, and gives a
    ProcessStop of an earlier time for one that is gone: else an earlier life of the id would be taken for it.
    """

    def __init__(  # noqa: PLR0913 (what is known of the source)
        self,
        detector: Detector = "etw",
        pointer_size: int = 8,
        settle: int = SETTLE,
        *,
        source: str = "the trace",
        machine: str = "",
        host: str | None = None,
        files: ImageFiles | None = None,
        kinds: Kinds | None = None,
    ) -> None:
        self._detector = detector
        self._pointer_size = pointer_size
        self.settle = settle
        self._source = source
        self._machine = machine
        self._host = host
        self._kinds = kinds or Kinds()
        self._paths = Paths()
        self._lives = Lives()
        self._starts = StartFinder(self._lives, self._paths, source, files, pointer_size)
        self._held: deque[_Held] = deque()
        lives, starts = self._lives, self._starts
        self._foresight: dict[type, Callable[..., object]] = {
            ProcessStart: lives.foresee_start,
            ProcessRundown: lives.foresee_listing,
            ImageLoad: starts.coming.foresee,
            ImageUnload: starts.coming.foresee,
            ThreadStart: starts.pools.observe,
            VolumeMapping: self._mapped,
            MachineName: self._named,
        }
        self._handlers: dict[type, Callable[..., object]] = {
            ProcessStart: lives.start,
            ProcessRundown: lives.list,
            ProcessStop: lives.stop,
            ImageLoad: self._loaded,
            ImageUnload: self._unloaded,
            ThreadStart: starts.pools.observe,
            VolumeMapping: self._mapped,
            MachineName: self._named,
            Loss: starts.lost,
        }

    def foresee(self, event: Event) -> None:
        """Take an event of the same trace before its turn."""
        handler = self._foresight.get(type(event))
        if handler is not None:
            handler(event)

    def observe(self, event: Event) -> None:
        """Take the next event in time order."""
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(event)

    def knows(self, pid: int, time: int) -> bool:
        """Whether the events tell what process *pid* is at *time*, the time of the last event."""
        life = self._lives.at(pid, time)
        return life is not None and life.told is not None

    def involved(self, thread: RemoteThread) -> frozenset[int]:
        """Return the processes whose images matter to *thread*, the event observed last."""
        pids = {thread.creator_pid, thread.pid}
        if thread.start_address is not None and thread.start_address >= END_OF_PROGRAMS[self._pointer_size]:
            pids |= EXCLUDED_PIDS
        for pid in (thread.creator_pid, thread.pid):
            life = self._lives.at(pid, thread.time)
            if life and life.told and life.told.parent_pid is not None:
                pids.add(life.told.parent_pid)
        return frozenset(pids)

    def since(self, pid: int) -> int:
        """Return when the life that *pid* stands for began, as far as is known: what was before is not its own."""
        return self._lives.since(pid)

    def add(self, thread: RemoteThread) -> None:
        """Take the remote thread that the event observed last is."""
        source, target = (self._lives.now(pid, thread.time) for pid in (thread.creator_pid, thread.pid))
        module = self._starts.module(thread, target)
        if module is None:
            target.awaited = thread.time + self.settle
        self._held.append(
            _Held(
                thread,
                source,
                self._lives.parent(source, thread.time),
                target,
                self._lives.parent(target, thread.time),
                module,
            )
        )

    def take(self, now: int | None = None) -> Iterator[Detection]:
        """Yield what has settled by the FILETIME *now*, or all that is left, in order of time."""
        while self._held and (now is None or self._held[0].thread.time + self.settle <= now):
            yield self._detection(self._held.popleft())

    def _detection(self, held: _Held) -> Detection:
        thread, machine = held.thread, self._host or self._machine
        source = describe(thread.creator_pid, held.source, held.source_parent, self._paths, machine)
        target = describe(thread.pid, held.target, held.target_parent, self._paths, machine)
        module = held.module or self._starts.late(thread, held.target, thread.time + self.settle)
        start, why_not_start = self._starts.describe(thread, held.target, module)
        absent = (
            *([] if self._host else [("Computer", f"{self._source} does not tell")]),
            *absences("Source", source, held.source, self._source),
            *absences("Target", target, held.target, self._source),
            *why_not_start,
        )
        return self._kinds.judged(
            Detection(thread, self._detector, source, target, start, self._pointer_size, self._host, absent=absent)
        )

    # -- events

    def _loaded(self, event: ImageLoad) -> None:
        self._starts.coming.observe(event)
        self._lives.load(event)

    def _unloaded(self, event: ImageUnload) -> None:
        self._starts.coming.observe(event)
        self._lives.unload(event)

    def _mapped(self, event: VolumeMapping) -> None:
        self._paths.learn(event.device, event.path)

    def _named(self, event: MachineName) -> None:
        self._host = self._host or event.name or None


class _Held(NamedTuple):
    """A remote thread that waits for late events, with the lives that it was between."""

    thread: RemoteThread
    source: Life
    source_parent: Told | None
    target: Life
    target_parent: Told | None
    module: Module | None
