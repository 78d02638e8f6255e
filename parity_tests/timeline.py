"""Tells a scenario: turns its steps into what happened, event by event, with ids and times.

Both detectors of the model and file benches are told the same facts, ETW as events and the driver as kernel
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
from parity_tests.processes import Cast, images_of
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
    Who,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from etwdetect.core.events import Event
    from parity_tests.processes import Life
    from parity_tests.scenario import Scenario

MIDNIGHT: Final = 132_337_152_000_000_000
"""2020-05-12, 00:00 UTC, as a FILETIME: the day of all stories."""

SECOND: Final = 10_000_000
PACE: Final = SECOND // 10
"""Between two steps, where the scenario does not say."""

_FIRST_THREAD: Final = 6_900  # 0.69 ms after its process, the middle of what was measured on real machines
_IMAGES: Final = 21_000
_LEAD: Final = 10 * SECOND
"""How long detection runs before the first step: nothing of the story is near its beginning."""

_OLDER: Final = 3600 * SECOND

MOST_STEPS: Final = 200_000
"""How many steps a story may have, repetitions counted each time."""

MOST_EVENTS: Final = 400_000
"""How many events a story may have, those of its images too: memory stays below half a gigabyte."""

LONGEST: Final = 366 * 24 * 3600 * SECOND
"""How long a story may last: further on there is a time that an event has no room for."""


class Fact(NamedTuple):
    """One thing that happened: *event* with its true creator, logged on *cpu*, and what ETW fails to tell."""

    event: Event
    cpu: int = 0
    creator_unknown: bool = False
    lost_by_etw: bool = False

    def to_etw(self) -> Event:
        """Return the event as ETW has it."""
        if self.creator_unknown and isinstance(self.event, ThreadStart):
            return self.event._replace(creator_pid=UNKNOWN_ID, creator_tid=UNKNOWN_ID)
        return self.event


@dataclass(frozen=True)
class Story:
    """A scenario that was told: the *facts* in the order in which they happened, and who is who.

    *session_start* is the FILETIME at which both detectors begin.
    """

    session_start: int
    facts: tuple[Fact, ...]
    cast: Cast

    def etw_facts(self) -> list[Fact]:
        """Return what ETW logs, in the order in which it happened."""
        return [fact for fact in self.facts if not fact.lost_by_etw]

    @property
    def events_lost(self) -> int:
        """How many events ETW loses."""
        return sum(fact.lost_by_etw for fact in self.facts)

    def kernel_events(self) -> Iterator[SimEvent]:
        """Yield what the driver is notified of."""
        return kernel_events(fact.event for fact in self.facts)


def kernel_events(events: Iterable[Event]) -> Iterator[SimEvent]:
    """Yield the notifications that a driver gets in the place of *events*."""
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


def tell(scenario: Scenario) -> Story:
    """Return the story of *scenario*; ScenarioError, which names the step, where it can't happen."""
    return _Teller(scenario).tell()


class _Teller:
    """Takes the steps one after the other."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._cast = Cast(scenario)
        begins = scenario.begins
        seconds = (begins.hour * 60 + begins.minute) * 60 + begins.second
        self._now = MIDNIGHT + seconds * SECOND + begins.microsecond * 10
        self._began = self._now
        self._session_start: int | None = None if scenario.begins_inside else self._now - _LEAD
        self._facts: list[tuple[int, Fact]] = []
        self._older = self._now - _OLDER
        self._steps = 0

    def tell(self) -> Story:
        if self._session_start is not None:
            self._begin_detection(self._session_start)
        self._take(self._scenario.steps, "step")
        if self._session_start is None:
            raise ScenarioError("detection never begins")
        # What follows each step may reach beyond the next one; Python's sort keeps what is at the same time.
        self._facts.sort(key=lambda timed: timed[0])
        facts = tuple(fact for time, fact in self._facts if time >= self._session_start)
        return Story(self._session_start, tuple(self._placed(facts)), self._cast)

    def _placed(self, facts: Iterable[Fact]) -> Iterator[Fact]:
        """Yield *facts* with coarse times, and a CPU for those that have none: the CPUs take turns."""
        tick, cpus = self._scenario.machine.clock_tick, self._scenario.machine.cpus
        for number, fact in enumerate(facts):
            cpu = number % cpus if fact.cpu < 0 else fact.cpu
            event = fact.event
            if tick > 1:
                event = event._replace(time=event.time // tick * tick)
            yield fact._replace(event=event, cpu=cpu)

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
                raise ScenarioError(f"the story has more than {MOST_STEPS:,} steps", here)
            if len(self._facts) > MOST_EVENTS:
                raise ScenarioError(f"the story has more than {MOST_EVENTS:,} events", here)
            if self._now - self._began > LONGEST:
                raise ScenarioError("the story lasts more than a year", here)
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
                raise ScenarioError(f"there is no CPU {cpu} in a machine of {cpus}", where)

    def _happen(self, step: Step) -> None:
        match step:
            case StartProcess():
                self._start_process(step)
            case BeginProcess():
                self._announce(self._cast.born(step.process, step.by, self._now), step.by, step, step.parent)
            case CreateProcessWithoutThread():
                self._cast.born(step.process, step.by, self._now)
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
                    raise ScenarioError("detection has begun already")
                self._session_start = self._now
                self._begin_detection(self._now)

    def _make_thread(self, step: MakesThread) -> None:
        match step:
            case FirstThread():
                self._first_thread(step)
            case CreateThread():
                if step.by.process != step.process:
                    raise ScenarioError(f"{step.by} is no thread of {step.process}")
                life = self._cast.living(step.process)
                if not life.threads:  # its first thread runs, and the notification of it is still to come
                    self._cast.thread_starts(step.process, MAIN, None)
                    self._map(life, 0, images_of(life.actor))
                self._thread(step, step.at or f"{life.actor.image}!Worker")
            case CreateRemoteThread() | AttachDebugger() | BreakIn() | ConsoleControl():
                self._foreign_thread(step)

    def _exit(self, step: ExitThread | ExitProcess) -> None:
        if isinstance(step, ExitThread):
            tid = self._cast.thread_ends(step.process, step.thread)
            self._log(ThreadStop(self._now, self._cast.living(step.process).pid, tid), step)
            return
        life = self._cast.ends(step.process)
        if life.announced:  # of a process that never had a thread Windows tells nothing
            self._log(ProcessStop(self._now, life.pid), step)

    def _begin_detection(self, time: int) -> None:
        for life in self._cast.alive():
            created = self._older if life.born is None else life.born
            image = addresses.device_path(life.actor.image)
            listing = time + 10
            event = ProcessRundown(listing, life.pid, create_time=created, image=image)
            self._facts.append((listing, Fact(event, -1)))
            self._facts += [
                (listing, Fact(_mapped(listing, life, each, rundown=True), -1)) for each in life.mapped
            ]

    def _start_process(self, step: StartProcess) -> None:
        life = self._cast.born(step.process, step.by, self._now)
        self._announce(life, step.by, step, step.parent)
        delay = _FIRST_THREAD if step.first_thread_after is None else step.first_thread_after
        at = step.at or f"{life.actor.image}!Start"
        self._thread(step, at, delay, name=step.named or MAIN, cpu=step.thread_cpu)
        suspended = isinstance(step, StartSuspended)
        life.suspended = suspended
        self._map(life, delay, (life.actor.image, "ntdll.dll") if suspended else images_of(life.actor))
        if isinstance(step, StartUnderDebugger):
            life.debugger = step.by.process

    def _resume(self, step: Resume) -> None:
        self._cast.thread(step.by)
        life = self._cast.living(step.process)
        if not life.suspended:
            raise ScenarioError(f"{step.process} is not suspended")
        life.suspended = False
        self._map(life, 0, images_of(life.actor)[2:])

    def _first_thread(self, step: FirstThread) -> None:
        life = self._cast.living(step.process)
        if not life.announced:
            # Windows announces the process when its first thread is inserted, in the thread that inserts it.
            self._announce(life, step.by, step, life.starter)
        self._thread(step, step.at or f"{life.actor.image}!Start", 1, name=step.named or MAIN)
        self._map(life, 1, images_of(life.actor))

    def _foreign_thread(self, step: CreateRemoteThread | AttachDebugger | BreakIn | ConsoleControl) -> None:
        if step.by.process == step.process:
            raise ScenarioError(f"{step.process} does so to itself; for an own thread there is create_thread")
        match step:
            case CreateRemoteThread(at=None):
                raise ScenarioError("does not say at which start address")
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

    def _debugger(self, process: str, by: Who, *, attached: bool) -> Life:
        """Return the life of *process*, which *by* does or does not debug."""
        life = self._cast.living(process)
        self._cast.thread(by)
        if attached and life.debugger != by.process:
            raise ScenarioError(f"{by.process} is not attached to {process}")
        if not attached and life.debugger:
            raise ScenarioError(f"{life.debugger} is attached to {process} already")
        return life

    def _announce(self, life: Life, by: Who, step: Step, parent: str | None) -> None:
        life.announced = True
        creator = self._cast.thread(by)
        parent_pid = self._cast.living(parent).pid if parent else creator[0]
        image = addresses.device_path(life.actor.image)
        self._log(ProcessStart(self._now, *creator, life.pid, parent_pid, 1, self._now, image=image), step)

    def _thread(
        self, step: MakesThread, at: str, delay: int = 0, name: str | None = None, cpu: int | None = None
    ) -> None:
        life = self._cast.living(step.process)
        image = at.partition("!")[0]
        if "!" in at and image not in images_of(life.actor):
            raise ScenarioError(f"{image} is not mapped in {step.process}; name it in the process's images")
        if "!" not in at and at not in ("nowhere", "kernel"):
            raise ScenarioError(f"{at!r} is no start address such as 'ntdll.dll!DbgUiRemoteBreakin' or 'nowhere'")
        creator = self._cast.thread(step.by)
        tid = self._cast.thread_starts(step.process, name or step.named, step.tid)
        address = addresses.start_address(at)
        self._log(ThreadStart(self._now + delay, *creator, life.pid, tid, address), step, cpu)

    def _map(self, life: Life, delay: int, images: Iterable[str]) -> None:
        for number, image in enumerate(images):
            time = self._now + delay + _IMAGES + number
            self._facts.append((time, Fact(_mapped(time, life, image), -1)))
            life.mapped.append(image)

    def _log(self, event: Event, step: Step, cpu: int | None = None) -> None:
        cpu = step.cpu if cpu is None else cpu
        unknown = getattr(step, "etw_creator", "known") == "unknown"
        lost = step.lost_by_etw
        self._facts.append((event.time, Fact(event, -1 if cpu is None else cpu, unknown, lost)))


def _mapped(time: int, life: Life, image: str, *, rundown: bool = False) -> ImageLoad:
    base, stamp, path = addresses.image_base(image), addresses.time_stamp(image), addresses.device_path(image)
    return ImageLoad(time, life.pid, base, addresses.IMAGE_SIZE, stamp, stamp, path, rundown=rundown)
