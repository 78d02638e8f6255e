"""Adds to each remote thread what other events say about its processes and its start address."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from etwdetect.core.events import (
    CallStack,
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
from etwdetect.core.filetime import TICKS_PER_SECOND
from etwdetect.core.rule import EXCLUDED_PIDS
from etwdetect.enrich.call_stacks import CallFinder
from etwdetect.enrich.detection import Calls, Detection, Detector
from etwdetect.enrich.fields import END_OF_PROGRAMS
from etwdetect.enrich.images import ImageFinder
from etwdetect.enrich.kinds import Kinds
from etwdetect.enrich.modules import ModuleMap
from etwdetect.enrich.paths import Paths
from etwdetect.enrich.process import absences, describe
from etwdetect.enrich.process_tracker import ProcessTracker
from etwdetect.enrich.starts import TOO_MANY_WAITED, StartFinder

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterator

    from etwdetect.core.events import Event
    from etwdetect.core.rule import RemoteThread
    from etwdetect.enrich.call_stacks import FoundCalls
    from etwdetect.enrich.image_columns import ImageColumns
    from etwdetect.enrich.imagefiles import ImageFiles
    from etwdetect.enrich.modules import Module
    from etwdetect.enrich.paths import Drives
    from etwdetect.enrich.tracked_process import TrackedProcess

_Named = TypeVar("_Named", ProcessStart, ProcessRundown)

GRACE_PERIOD: Final = 2 * TICKS_PER_SECOND
"""How long after a thread's start an image event may still identify its module."""

_FIRST_IMAGES: Final = 8

MOST_PENDING: Final = 65_536
"""How many remote threads wait for the end of their grace period: some 40 MB."""


class Enricher:
    """Follows all events in time order and turns remote threads into detections.

    Pass every event to `observe`, and every remote thread, right after its event, to `add`. `take` yields the
    detections in the same order once *grace_period* (in 100 ns units) has passed. An event that is available ahead
    of time may be passed to `prescan` first. Image events may be deferred: observe those of the processes
    `involved` in a remote thread, from `since` each process started, before adding the thread.

    *source* is the name of the event source in reasons for missing fields, such as "the trace". *machine* replaces
    the computer's name in ProcessGuids where the name is unknown; *host* is that name. *files* are the image files
    to look up functions in, *kinds* the rules that assign kinds, *drives* the drives of volumes that a user told.

    **Live code** passes what it looks up in the system as events too, before `add`, with the time of the remote
    thread: for the creator and the target a ProcessRundown with a create_time (a different create_time means that
    the id was reused); for the target an ImageLoad with *rundown* for **each** of its images, so that a start
    address outside them is known to be outside any image; a VolumeMapping for each drive; and one MachineName.
    What cannot be looked up because the process has exited is left out and reported as absent. A source without
    process events, such as the driver, looks up both processes each time, and passes a ProcessStop with an earlier
    time for one that has exited; otherwise an earlier process with the same id would be taken for it.
    """

    def __init__(  # noqa: PLR0913 (the properties of the event source)
        self,
        detector: Detector = "etw",
        pointer_size: int = 8,
        grace_period: int = GRACE_PERIOD,
        *,
        source: str = "the trace",
        machine: str = "",
        host: str | None = None,
        files: ImageFiles | None = None,
        kinds: Kinds | None = None,
        drives: Drives = (),
    ) -> None:
        self._detector = detector
        self._pointer_size = pointer_size
        self.grace_period = grace_period
        self._source = source
        self._machine = machine
        self._host = host
        self._kinds = kinds or Kinds()
        self._paths = Paths(drives)
        self._processes = ProcessTracker()
        self._images = ImageFinder(self._processes, source, pointer_size)
        self._starts = StartFinder(self._images, self._paths, source, files, pointer_size)
        self._calls = CallFinder(self._images, self._paths, files, pointer_size)
        self._pending: deque[_Pending] = deque()
        processes, images = self._processes, self._images
        always: dict[type, Callable[..., object]] = {VolumeMapping: self._mapped, MachineName: self._named}
        self._prescan_handlers = always | {
            ProcessStart: self._noticing(processes.prescan_start),
            ProcessRundown: self._noticing(processes.prescan_listing),
            ProcessStop: processes.prescan_stop,
            ImageLoad: images.prescan,
            ImageUnload: images.prescan,
            ThreadStart: self._starts.pools.observe,
        }
        self._handlers = always | {
            ProcessStart: self._noticing(processes.start),
            ProcessRundown: self._noticing(processes.list),
            ProcessStop: processes.stop,
            ImageLoad: images.load,
            ImageUnload: images.unload,
            ThreadStart: self._thread_created,
            Loss: images.lost,
            CallStack: self._calls.observe,
        }

    def notice(self, path: str | None) -> None:
        """Take the path of any program, as the kernel tells it."""
        self._paths.notice(path)

    def prescan(self, event: Event) -> None:
        """Take an event of the same trace ahead of time."""
        handler = self._prescan_handlers.get(type(event))
        if handler is not None:
            handler(event)

    def observe(self, event: Event) -> None:
        """Take the next event in time order."""
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(event)

    def prescan_images(self, images: ImageColumns, seen: set[int]) -> bool:
        """Take image events of a process ahead of time; return whether that was possible, as by `prescan` of each.

        *seen*, empty at first, is for the next events of the same process.
        """
        return self._images.prescan_all(images, seen)

    def observe_images(self, images: ImageColumns) -> bool:
        """Take the next image events of a process; return whether that was possible, as by `observe` of each."""
        return self._images.take(images)

    @property
    def contradictions(self) -> Counter[str]:
        """How many events do not agree with earlier ones of the same process, by evidence."""
        return self._processes.contradictions

    def knows(self, pid: int, time: int) -> bool:
        """Whether events identify the process *pid* at *time*, the time of the latest event."""
        process = self._processes.at(pid, time)
        return process is not None and process.known is not None

    def lacks_path(self, pid: int, time: int) -> bool:
        """Whether the process *pid* is known at *time*, that of the latest event, by a bare name only."""
        process = self._processes.at(pid, time)
        return process is not None and process.name is not None

    def is_another_creator(self, event: ThreadStart) -> bool:
        """Whether the creator of *event*, the next one, is not the process that had its id before."""
        return self._processes.is_another_creator(event)

    def has_stack(self, thread: RemoteThread) -> bool:
        """Whether frames of a program are known from which *thread*, the event observed last, was created."""
        stack = self._calls.of(thread)
        return stack is not None and stack.user_frames is not None

    def involved(self, thread: RemoteThread) -> frozenset[int]:
        """Return the ids of the processes whose images matter to *thread*, the event observed last."""
        pids = {thread.creator_pid, thread.pid}
        stack = self._calls.of(thread)
        address = thread.start_address
        if (address is not None and address >= END_OF_PROGRAMS[self._pointer_size]) or (
            stack and stack.kernel_frames
        ):
            pids |= EXCLUDED_PIDS
        for pid in (thread.creator_pid, thread.pid):
            process = self._processes.at(pid, thread.time)
            if process and process.known and process.known.parent_pid is not None:
                pids.add(process.known.parent_pid)
        return frozenset(pids)

    def exited_parents(self, thread: RemoteThread) -> Iterator[tuple[TrackedProcess, int, int, int]]:
        """Yield the parents of both processes of *thread* that exited before their program's image was observed.

        Beside each are its id, and the FILETIMEs at which it and its child started. Each is yielded once.
        """
        for pid in (thread.creator_pid, thread.pid):
            process = self._processes.at(pid, thread.time)
            started = self._processes.exited_parent(process) if process else None
            if process and process.parent and process.known and started and not process.parent.sought:
                process.parent.sought = True
                yield process.parent, started.pid, started.time, process.known.time

    def since(self, pid: int) -> int:
        """Return the FILETIME before which events of *pid* belong to an earlier process with that id."""
        return self._processes.since(pid)

    def forget_images(self) -> None:
        """Take that image events were there, and were forgotten for want of room."""
        self._images.forgets = True

    def add(self, thread: RemoteThread, container: str | None = None) -> None:
        """Take the remote thread that the event observed last created; *container* is what that event names."""
        processes = self._processes
        source, target = (processes.now(pid, thread.time) for pid in (thread.creator_pid, thread.pid))
        module = self._starts.module(thread, target)
        modules = target.modules
        if module is None:
            target.awaited = thread.time + self.grace_period
            modules = target.modules = modules or ModuleMap()
        self._notice_images(source, thread.creator_pid)
        self._notice_images(target, thread.pid)
        parents = (processes.parent(process, thread.time) for process in (source, target))
        self._pending.append(
            _Pending(
                thread,
                source,
                next(parents),
                target,
                next(parents),
                module,
                modules,
                container,
                self._calls.find(thread, source),
            )
        )

    def take(self, now: int | None = None) -> Iterator[Detection]:
        """Yield the detections whose grace period is over at the FILETIME *now* (None: all), in time order.

        Beyond MOST_PENDING, the oldest are yielded before that.
        """
        pending = self._pending
        while pending:
            early = now is not None and pending[0].thread.time + self.grace_period > now
            if early and len(pending) <= MOST_PENDING:
                return
            yield self._detection(pending.popleft(), early=early)

    def _detection(self, pending: _Pending, *, early: bool) -> Detection:
        thread, machine = pending.evident(), self._host or self._machine
        self._find_programs(pending)
        for path in pending.paths(pending.module):
            self._paths.notice(path)
        source = describe(thread.creator_pid, pending.source, pending.source_parent, self._paths, machine)
        target = describe(thread.pid, pending.target, pending.target_parent, self._paths, machine)
        module = pending.module or self._starts.late(thread, pending.modules, thread.time + self.grace_period)
        start, absent_start = self._starts.describe(thread, pending.target, pending.modules, module)
        if early and module is None and thread.start_address is not None:
            absent_start = TOO_MANY_WAITED
        calls, absent_calls = self._calls.describe(pending.calls) if pending.calls else (Calls(), ())
        absent = (
            *([] if self._host else [("Computer", f"{self._source} does not tell")]),
            *absences("Source", source, pending.source, pending.source_parent, self._source),
            *absences("Target", target, pending.target, pending.target_parent, self._source),
            *absent_start,
            *absent_calls,
        )
        return self._kinds.classify(
            Detection(
                thread,
                self._detector,
                source,
                target,
                start,
                self._pointer_size,
                self._host,
                container=pending.container,
                assumed_drive=self._paths.assumed_for(pending.paths(module)),
                absent=absent,
                calls=calls,
            )
        )

    def _find_programs(self, pending: _Pending) -> None:
        """Find the paths of programs among the images to come: a trace may list images at its end alone."""
        time = pending.thread.time
        for process in (pending.source, pending.source_parent, pending.target, pending.target_parent):
            if process is None or process.known is None or process.seen_to_start or process.sought:
                continue
            process.sought = True
            for event in self._images.coming.of(process.known.pid):
                if process.name is None or not self._processes.is_one_until(event.pid, event.time):
                    break
                if event.time > time:
                    process.see(event.image, mapped=False)

    # -- events

    def _noticing(self, handler: Callable[[_Named], object]) -> Callable[[_Named], None]:
        """Return *handler*, preceded by a look at the path in the event."""
        notice = self._paths.notice

        def handle(event: _Named) -> None:
            notice(event.image)
            handler(event)

        return handle

    def _notice_images(self, process: TrackedProcess, pid: int) -> None:
        """Look at the paths of the first images of a process: one is Windows' own ntdll.dll."""
        first = islice(process.modules.changed_paths(), _FIRST_IMAGES) if process.modules else ()
        coming = (event.image for event in islice(self._images.coming.of(pid), _FIRST_IMAGES))
        for path in (*first, *coming):
            self._paths.notice(path)

    def _thread_created(self, event: ThreadStart) -> None:
        self._processes.create_thread(event)
        self._starts.pools.observe(event)

    def _mapped(self, event: VolumeMapping) -> None:
        self._paths.learn(event.device, event.path)

    def _named(self, event: MachineName) -> None:
        self._host = self._host or event.name or None


class _Pending(NamedTuple):
    """A remote thread whose grace period is running, with both processes as of its start."""

    thread: RemoteThread
    source: TrackedProcess
    source_parent: TrackedProcess | None
    target: TrackedProcess
    target_parent: TrackedProcess | None
    module: Module | None
    modules: ModuleMap | None
    container: str | None
    calls: FoundCalls | None

    def evident(self) -> RemoteThread:
        """Return the remote thread, with evidence where events about its processes do not agree."""
        names = {*self.source.contradictions, *self.target.contradictions}
        return self.thread._replace(evidence=(*self.thread.evidence, *sorted(names))) if names else self.thread

    def paths(self, module: Module | None) -> Iterator[str | None]:
        """Yield the kernel's paths that the detection shows; *module* is where the thread starts."""
        yield module.path if module else None
        for process in (self.source, self.source_parent, self.target, self.target_parent):
            yield process.image if process else None
        if self.calls:
            yield from self.calls.paths()
