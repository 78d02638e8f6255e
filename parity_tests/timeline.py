"""Expands the steps of a scenario into a timeline of events with ids and times.

The model and file benches give the same timeline to both detectors: to ETW as events, to the driver as kernel
notifications.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from etwdetect.core.events import (
    UNKNOWN_ID,
    ImageLoad,
    ProcessRundown,
    ProcessStart,
    ProcessStop,
    ThreadStart,
    ThreadStop,
)
from parity_tests import addresses
from parity_tests.errors import ScenarioError
from parity_tests.processes import Processes, images_of
from parity_tests.simulators.simkernel import Kind, SimEvent
from parity_tests.steps import (
    BREAK_IN,
    CONTROL_HANDLER,
    MAIN,
    AttachDebugger,
    BeginProcess,
    BreakIn,
    ConsoleControl,
    CreateProcessWithoutThread,
    CreateRemoteThread,
    CreateThread,
    Detach,
    ExitProcess,
    ExitThread,
    FirstThread,
    MakesThread,
    Repeat,
    Resume,
    StartDetection,
    StartProcess,
    StartSuspended,
    StartUnderDebugger,
    Step,
    ThreadRef,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from etwdetect.core.events import Event
    from parity_tests.processes import ProcessState
    from parity_tests.scenario import Scenario

MIDNIGHT: Final = 132_337_152_000_000_000
"""2020-05-12, 00:00 UTC, as a FILETIME: the day of all timelines."""

SECOND: Final = 10_000_000
PACE: Final = SECOND // 10
"""The time between two steps unless the scenario sets it."""

_FIRST_THREAD: Final = 6_900  # 0.69 ms after its process: the median on real machines
_IMAGES: Final = 21_000
_LEAD: Final = 10 * SECOND
"""The time from the start of detection to the first step, so that no step is close to the session start."""

_OLDER: Final = 3600 * SECOND

MOST_STEPS: Final = 200_000
"""The maximum number of steps in a timeline; each repetition counts."""

MOST_EVENTS: Final = 400_000
"""The maximum number of events in a timeline, image loads included; keeps memory below half a gigabyte."""

LONGEST: Final = 366 * 24 * 3600 * SECOND
"""The maximum duration of a timeline: far enough from the largest time that an event can hold."""


def paced(steps: Iterable[Step]) -> Iterator[tuple[int, Step]]:
    """Yield every step with the pause before it, in 100 ns units; repetitions are expanded."""
    for step in steps:
        pause = PACE if step.after is None else step.after
        if not isinstance(step, Repeat):
            yield pause, step
            continue
        for number in range(1, step.times + 1):
            first, *others = paced(each.numbered(number) for each in step.steps)
            yield (pause if number == 1 else step.every), first[1]
            yield from others


class TimelineEvent(NamedTuple):
    """An event with its true creator, the CPU that logs it, and what ETW misses of it.

    *creator_unknown*: ETW logs it without its creator. *lost_by_etw*: ETW does not log it. *stack* has the return
    addresses of the creating thread, those of the innermost calls first.
    """

    event: Event
    cpu: int = 0
    creator_unknown: bool = False
    lost_by_etw: bool = False
    stack: tuple[int, ...] = ()

    def to_etw(self) -> Event:
        """Return the event as ETW logs it."""
        if self.creator_unknown and isinstance(self.event, ThreadStart):
            return self.event._replace(creator_pid=UNKNOWN_ID, creator_tid=UNKNOWN_ID)
        return self.event


@dataclass(frozen=True)
class Timeline:
    """An expanded scenario: its events in the order in which they happen, and its processes.

    *session_start* is the FILETIME at which both detectors start.
    """

    session_start: int
    entries: tuple[TimelineEvent, ...]
    processes: Processes

    def etw_entries(self) -> list[TimelineEvent]:
        """Return the events that ETW logs, in the order in which they happen."""
        return [entry for entry in self.entries if not entry.lost_by_etw]

    @property
    def events_lost(self) -> int:
        """The number of events that ETW loses."""
        return sum(entry.lost_by_etw for entry in self.entries)

    def kernel_events(self) -> Iterator[SimEvent]:
        """Yield the driver's notifications."""
        return kernel_events(entry.event for entry in self.entries)


def kernel_events(events: Iterable[Event]) -> Iterator[SimEvent]:
    """Yield the kernel notifications that correspond to *events*."""
    for event in events:
        match event:
            case ProcessStart(time, creator_pid, creator_tid, pid):
                yield SimEvent(time, Kind.PROCESS_CREATED, creator_pid, creator_tid, pid)
            case ProcessStop(time, pid):
                yield SimEvent(time, Kind.PROCESS_EXITED, pid, 0, pid)
            case ThreadStart(time, creator_pid, creator_tid, pid, tid):
                yield SimEvent(time, Kind.THREAD_CREATED, creator_pid, creator_tid, pid, tid)
            case ThreadStop(time, pid, tid):
                yield SimEvent(time, Kind.THREAD_EXITED, pid, tid, pid, tid)


def expand(scenario: Scenario) -> Timeline:
    """Return the timeline of *scenario*. Raises ScenarioError, which names the step, if a step is impossible."""
    return _Expander(scenario).expand()


class _Expander:
    """Expands the steps one after the other."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._processes = Processes(scenario)
        begins = scenario.begins
        seconds = (begins.hour * 60 + begins.minute) * 60 + begins.second
        self._now = MIDNIGHT + seconds * SECOND + begins.microsecond * 10
        self._began = self._now
        self._session_start: int | None = None if scenario.begins_inside else self._now - _LEAD
        self._entries: list[tuple[int, TimelineEvent]] = []
        self._older = self._now - _OLDER
        self._steps = 0

    def expand(self) -> Timeline:
        if self._session_start is not None:
            self._begin_detection(self._session_start)
        self._take(self._scenario.steps, "step")
        if self._session_start is None:
            raise ScenarioError("detection never starts; a start_detection step must be reached")
        # Later events of a step can be after the next step. The sort is stable for equal times.
        self._entries.sort(key=lambda timed: timed[0])
        entries = tuple(entry for time, entry in self._entries if time >= self._session_start)
        return Timeline(self._session_start, tuple(self._placed(entries)), self._processes)

    def _placed(self, entries: Iterable[TimelineEvent]) -> Iterator[TimelineEvent]:
        """Yield *entries* with times rounded to the clock tick, and CPUs assigned in turn where none is set."""
        tick, cpus = self._scenario.machine.clock_tick, self._scenario.machine.cpus
        for number, entry in enumerate(entries):
            cpu = number % cpus if entry.cpu < 0 else entry.cpu
            event = entry.event
            if tick > 1:
                event = event._replace(time=event.time // tick * tick)
            yield entry._replace(event=event, cpu=cpu)

    def _take(self, steps: Iterable[Step], where: str) -> None:
        for number, step in enumerate(steps, 1):
            here = f"{where} {number} ({step.action})"
            self._now += (PACE if number > 1 else 0) if step.after is None else step.after
            self._check_cpus(step, here)
            if isinstance(step, Repeat):
                self._repeat(step, here)
                continue
            self._steps += 1
            if self._steps > MOST_STEPS:
                raise ScenarioError(f"the timeline has more than {MOST_STEPS:,} steps", here)
            if len(self._entries) > MOST_EVENTS:
                raise ScenarioError(f"the timeline has more than {MOST_EVENTS:,} events", here)
            if self._now - self._began > LONGEST:
                raise ScenarioError("the timeline lasts more than a year", here)
            try:
                self._happen(step)
            except ScenarioError as error:
                raise ScenarioError(error.what, here) from error

    def _repeat(self, step: Repeat, where: str) -> None:
        began = self._now
        for number in range(1, step.times + 1):
            self._now = began + (number - 1) * step.every
            self._take([each.numbered(number) for each in step.steps], f"{where}, {number} of {step.times}, step")

    def _check_cpus(self, step: Step, where: str) -> None:
        cpus = self._scenario.machine.cpus
        for cpu in (step.cpu, getattr(step, "thread_cpu", None)):
            if cpu is not None and cpu >= cpus:
                raise ScenarioError(
                    f"CPU {cpu} does not exist; the machine has {cpus} (cpus under [machine])", where
                )

    def _happen(self, step: Step) -> None:
        match step:
            case StartProcess():
                self._start_process(step)
            case BeginProcess():
                state = self._processes.start_process(step.process, step.by, self._now)
                self._announce(state, step.by, step, step.parent)
            case CreateProcessWithoutThread():
                self._processes.start_process(step.process, step.by, self._now)
            case Resume():
                self._resume(step)
            case Detach():
                self._debugger(step.process, step.by, attached=True).debugger = None
            case MakesThread():
                self._make_thread(step)
            case ExitThread() | ExitProcess():
                self._exit(step)
            case StartDetection():
                if self._session_start is not None:
                    raise ScenarioError("detection has started already")
                self._session_start = self._now
                self._begin_detection(self._now)

    def _make_thread(self, step: MakesThread) -> None:
        match step:
            case FirstThread():
                self._first_thread(step)
            case CreateThread():
                if step.by.process != step.process:
                    raise ScenarioError(f"{step.by} is not a thread of {step.process}; use create_remote_thread")
                state = self._processes.running(step.process)
                if not state.threads:  # its first thread runs before it is announced
                    self._processes.start_thread(step.process, MAIN, None)
                    self._map(state, 0, images_of(state.definition))
                self._thread(step, step.at or f"{state.definition.image}!Worker")
            case CreateRemoteThread() | AttachDebugger() | BreakIn() | ConsoleControl():
                self._foreign_thread(step)

    def _exit(self, step: ExitThread | ExitProcess) -> None:
        if isinstance(step, ExitThread):
            tid = self._processes.end_thread(step.process, step.thread)
            self._log(ThreadStop(self._now, self._processes.running(step.process).pid, tid), step)
            return
        state = self._processes.end_process(step.process)
        if state.announced:  # Windows does not announce a process that never had a thread
            self._log(ProcessStop(self._now, state.pid), step)

    def _begin_detection(self, time: int) -> None:
        for state in self._processes.all_running():
            created = self._older if state.started is None else state.started
            image = addresses.device_path(state.definition.image)
            listing = time + 10
            event = ProcessRundown(listing, state.pid, create_time=created, image=image)
            self._entries.append((listing, TimelineEvent(event, -1)))
            self._entries += [
                (listing, TimelineEvent(_mapped(listing, state, each, rundown=True), -1)) for each in state.mapped
            ]

    def _start_process(self, step: StartProcess) -> None:
        state = self._processes.start_process(step.process, step.by, self._now)
        self._announce(state, step.by, step, step.parent)
        delay = _FIRST_THREAD if step.first_thread_after is None else step.first_thread_after
        at = step.at or f"{state.definition.image}!Start"
        self._thread(step, at, delay, name=step.named or MAIN, cpu=step.thread_cpu)
        suspended = isinstance(step, StartSuspended)
        state.suspended = suspended
        self._map(
            state, delay, (state.definition.image, "ntdll.dll") if suspended else images_of(state.definition)
        )
        if isinstance(step, StartUnderDebugger):
            state.debugger = step.by.process

    def _resume(self, step: Resume) -> None:
        self._processes.thread_ids(step.by)
        state = self._processes.running(step.process)
        if not state.suspended:
            raise ScenarioError(f"{step.process} is not suspended")
        state.suspended = False
        self._map(state, 0, images_of(state.definition)[2:])

    def _first_thread(self, step: FirstThread) -> None:
        state = self._processes.running(step.process)
        if not state.announced:
            # Windows announces the process when its first thread is inserted, on the inserting thread.
            self._announce(state, step.by, step, state.starter)
        self._thread(step, step.at or f"{state.definition.image}!Start", 1, name=step.named or MAIN)
        self._map(state, 1, images_of(state.definition))

    def _foreign_thread(self, step: CreateRemoteThread | AttachDebugger | BreakIn | ConsoleControl) -> None:
        if step.by.process == step.process:
            raise ScenarioError(
                f"{step.process} cannot do this to itself; use create_thread for a thread in its own process"
            )
        match step:
            case CreateRemoteThread(at=None):
                raise ScenarioError("needs a start address: at = 'image!function', 'nowhere' or 'kernel'")
            case CreateRemoteThread(at=str(at)):
                self._thread(step, at)
            case ConsoleControl():
                self._thread(step, step.at or CONTROL_HANDLER)
            case AttachDebugger():
                self._debugger(step.process, step.by, attached=False).debugger = step.by.process
                if step.invasive:
                    self._thread(step, step.at or BREAK_IN)
            case BreakIn():
                self._debugger(step.process, step.by, attached=True)
                self._thread(step, step.at or BREAK_IN)

    def _debugger(self, process: str, by: ThreadRef, *, attached: bool) -> ProcessState:
        """Return the state of *process*, which *by* must debug if *attached*, and nobody otherwise."""
        state = self._processes.running(process)
        self._processes.thread_ids(by)
        if attached and state.debugger != by.process:
            raise ScenarioError(f"{by.process} is not attached to {process}")
        if not attached and state.debugger:
            raise ScenarioError(f"{state.debugger} is attached to {process} already")
        return state

    def _announce(self, state: ProcessState, by: ThreadRef, step: Step, parent: str | None) -> None:
        state.announced = True
        creator = self._processes.thread_ids(by)
        parent_pid = self._processes.running(parent).pid if parent else creator[0]
        image = addresses.device_path(state.definition.image)
        self._log(ProcessStart(self._now, *creator, state.pid, parent_pid, 1, self._now, image=image), step)

    def _thread(
        self, step: MakesThread, at: str, delay: int = 0, name: str | None = None, cpu: int | None = None
    ) -> None:
        state = self._processes.running(step.process)
        image = at.partition("!")[0]
        if "!" in at and image not in images_of(state.definition):
            raise ScenarioError(f"{image} is not mapped in {step.process}; add it to the images of the process")
        if "!" not in at and at not in ("nowhere", "kernel"):
            raise ScenarioError(f"{at!r} is not a start address; use 'image!function', 'nowhere' or 'kernel'")
        creator = self._processes.thread_ids(step.by)
        tid = self._processes.start_thread(step.process, name or step.named, step.tid)
        address = addresses.start_address(at)
        thread = ThreadStart(self._now + delay, *creator, state.pid, tid, address)
        self._log(thread, step, cpu, self._stack(step))

    def _stack(self, step: MakesThread) -> tuple[int, ...]:
        """Return the call stack of *step*; none if the scenario does not say what it is."""
        if not step.stack and not step.nested:
            return ()
        mapped = images_of(self._processes.running(step.by.process).definition)
        for call in step.stack:
            if call != "nowhere" and ("!" not in call or call.partition("!")[0] not in mapped):
                raise ScenarioError(f"{call!r} is no call of {step.by}; use 'image!function' or 'nowhere'")
        return (*addresses.kernel_frames(nested=step.nested), *map(addresses.return_address, step.stack))

    def _map(self, state: ProcessState, delay: int, images: Iterable[str]) -> None:
        for number, image in enumerate(images):
            time = self._now + delay + _IMAGES + number
            self._entries.append((time, TimelineEvent(_mapped(time, state, image), -1)))
            state.mapped.append(image)

    def _log(self, event: Event, step: Step, cpu: int | None = None, stack: tuple[int, ...] = ()) -> None:
        cpu = step.cpu if cpu is None else cpu
        unknown = getattr(step, "etw_creator", "known") == "unknown"
        lost = step.lost_by_etw
        self._entries.append((event.time, TimelineEvent(event, -1 if cpu is None else cpu, unknown, lost, stack)))


def _mapped(time: int, state: ProcessState, image: str, *, rundown: bool = False) -> ImageLoad:
    base, stamp, path = addresses.image_base(image), addresses.time_stamp(image), addresses.device_path(image)
    return ImageLoad(time, state.pid, base, addresses.IMAGE_SIZE, stamp, stamp, path, rundown=rundown)
