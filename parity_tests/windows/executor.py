"""Performs a scenario: starts its processes, has them do its steps, and returns what both detectors saw."""

from __future__ import annotations

import os
import threading
import time
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from etwdetect.comparison.pairing import Equality
from etwdetect.live import system
from parity_tests.errors import CdbError, PerformanceError
from parity_tests.scenario import IDLE, SYSTEM
from parity_tests.steps import (
    MAIN,
    AttachDebugger,
    BeginProcess,
    BreakIn,
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
    Who,
)
from parity_tests.timeline import PACE
from parity_tests.verdict import Observation
from parity_tests.windows import api, cdb_roles
from parity_tests.windows.actions import BOTH, NOBODY, PROCESS_ONLY
from parity_tests.windows.agents import Stage
from parity_tests.windows.cdb import Cdb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from etwdetect.comparison.pairing import RecordIds
    from parity_tests.scenario import Actor, Scenario
    from parity_tests.steps import Step
    from parity_tests.windows.agents import Player
    from parity_tests.windows.detectors import Detectors

_LONGEST_PAUSE: Final = 200_000
"""20 ms in 100 ns units, more than the margin for the order of records. A story's minutes are not waited for."""

_QUIET_SECONDS: Final = 1.0
_SETTLE_SECONDS: Final = 0.1
_PATIENCE: Final = 15.0
_MARKER: Final = "(marker)"
_HARMLESS: Final = "kernel32.dll!GetTickCount"
_STARTS: Final = ("nowhere", "kernel32.dll!LoadLibraryA", "kernel32.dll!LoadLibraryW")
"""Where threads are really made to start; everywhere else would do harm, and they start at _HARMLESS instead."""


def perform(
    scenario: Scenario, detect: Callable[[], Detectors], *, told: bool, cdb: Sequence[str] = ()
) -> Observation:
    """Perform *scenario* and return what both detectors saw of it.

    *detect* makes the detectors, *told* says whether it is we who tell them, as in Wine. *cdb* are the words that
    start cdb, which plays those debuggers that it can; the debug API plays the others, and all should cdb fail:
    then the scenario is performed anew. Raises PerformanceError, KDetectorError, LiveError and OSError.
    """
    api.keep_standard_handles()
    try:
        return _perform(scenario, detect, told=told, cdb=cdb)
    except CdbError as error:
        again = _perform(scenario, detect, told=told, cdb=())
        return replace(again, notes=(f"performed anew without cdb: {error}", *again.notes))


def _perform(
    scenario: Scenario, detect: Callable[[], Detectors], *, told: bool, cdb: Sequence[str]
) -> Observation:
    with ExitStack() as stack:
        stage = stack.enter_context(closing(Stage(notepad=not told)))
        return _Performer(scenario, stage, stack, detect, told=told, cdb=cdb).perform()


class _Performer:
    def __init__(  # noqa: PLR0913 (once)
        self,
        scenario: Scenario,
        stage: Stage,
        stack: ExitStack,
        detect: Callable[[], Detectors],
        *,
        told: bool,
        cdb: Sequence[str],
    ) -> None:
        self._scenario = scenario
        self._stage = stage
        self._stack = stack
        self._detect = detect
        self._told = told
        self._detectors: Detectors | None = None
        self._opening: RecordIds = (0, 0, 0, 0)
        self._cdb = cdb
        self._cdbs: dict[str, Cdb] = {}
        steps = [step for _, step in _flat(scenario.steps)]
        self._for_cdb = cdb_roles.for_cdb(steps) if cdb else frozenset()
        self._debuggers = cdb_roles.debuggers(steps)
        self._acting = {by.process for step in steps if (by := getattr(step, "by", None))} - self._for_cdb

    @property
    def _tell(self) -> str:
        """What is to be told of the next creation: nothing before detection begins."""
        return BOTH if self._told and self._detectors else NOBODY

    def perform(self) -> Observation:
        for actor in self._scenario.actors.values():
            if actor.running and actor.name not in (SYSTEM, IDLE, *self._for_cdb):
                self._take_place(actor)
        marker = self._stage.command(_MARKER, _MARKER, acts=False)
        _settle(self._stage.enter(_MARKER, self._stage.deeds.start(marker, NOBODY)))
        if not self._scenario.begins_inside:
            self._begin()
        for pause, step in _flat(self._scenario.steps):
            time.sleep(min(pause, _LONGEST_PAUSE) / 10_000_000)
            if not self._done_with_cdb(step):
                self._do(step)
        assert self._detectors is not None
        etw, driver = self._detectors.sides(self._opening, self._mark(self._detectors))
        notes = (*self._detectors.notices, *self._who_played())
        return Observation(etw, driver, Equality.LIVE, self._stage.ids, notes)

    def _who_played(self) -> Iterator[str]:
        """Yield who played the debuggers, where it could have been cdb."""
        for name in self._debuggers if self._cdb or not self._told else ():
            yield f"{name} was played by {'cdb' if name in self._for_cdb else 'the debug API'}"

    def _take_place(self, actor: Actor) -> None:
        """Start who runs when the story begins; neither detector watches yet."""
        player = self._stage.enter(actor.name, self._stage.deeds.start(self._command(actor.name), NOBODY))
        self._connect(player)
        for thread in actor.threads if player.lines else ():
            if thread != MAIN:
                tid = player.order(MAIN, "own_thread", name=thread, tell=NOBODY)
                self._stage.note_thread(player, thread, tid)

    def _command(self, name: str) -> str:
        actor = self._scenario.actors.get(name)
        return self._stage.command(name, actor.image if actor else f"{name}.exe", acts=name in self._acting)

    def _begin(self) -> None:
        detectors = self._stack.enter_context(self._detect())
        if not self._told:
            detectors.wait_until_quiet(_QUIET_SECONDS)
        self._detectors = detectors
        self._opening = self._mark(detectors)

    def _mark(self, detectors: Detectors) -> RecordIds:
        """Make a marker thread, well apart from the rest, and wait until both have reported it."""
        time.sleep(_LONGEST_PAUSE / 10_000_000)
        pid = self._stage.ids.pid_of(_MARKER)
        ids = (
            os.getpid(),
            threading.get_native_id(),
            pid,
            self._stage.deeds.remote_thread(pid, _HARMLESS, self._tell),
        )
        detectors.wait_for(ids)
        return ids

    def _do(self, step: Step) -> None:
        match step:
            case StartProcess():
                self._start(step)
            case BeginProcess():
                self._announce(step)
            case MakesThread():
                self._make_thread(step)
            case Detach():
                self._detach(step)
            case Resume():
                player = self._stage.player(step.process)
                self._order(step.by, "resume", tid=player.threads[MAIN])
                self._connect(player)
            case ExitThread():
                self._exit_thread(step)
            case ExitProcess():
                self._exit_process(step.process)
            case StartDetection():
                self._begin()
            case _:
                raise PerformanceError(f"{step.action} can't be performed")

    def _make_thread(self, step: MakesThread) -> None:
        match step:
            case FirstThread():
                self._first_thread(step)
            case CreateThread():
                player = self._stage.player(step.process)
                name = step.named or f"#{len(player.threads)}"
                self._stage.note_thread(
                    player, name, self._order(step.by, "own_thread", name=name, tell=self._tell)
                )
            case CreateRemoteThread():
                at = step.at if step.at in _STARTS else _HARMLESS
                self._foreign(step, "remote_thread", at=at)
            case AttachDebugger():
                self._attach(step)
            case BreakIn():
                self._foreign(step, "break_in")

    def _order(self, by: Who, deed: str, **arguments: object) -> int:
        answer: int = self._stage.player(by.process).order(by.thread, deed, **arguments)
        return answer

    def _start(self, step: StartProcess) -> None:
        suspended, debugged = isinstance(step, StartSuspended), isinstance(step, StartUnderDebugger)
        player = self._create(
            step.process, step.by, step.parent, self._tell, step.named, suspended=suspended, debugged=debugged
        )
        if debugged:
            player.debugger = step.by.thread
        if not suspended:
            self._connect(player)

    def _announce(self, step: BeginProcess) -> None:
        """Start a process and tell of it alone; the thread that it has is told of later, or never."""
        tell = PROCESS_ONLY if self._tell == BOTH else NOBODY
        acts = step.process in self._acting
        player = self._create(step.process, step.by, step.parent, tell, None, suspended=not acts)
        if acts:
            self._connect(player)

    def _create(
        self, name: str, by: Who, parent: str | None, tell: str, thread: str | None, **how: bool
    ) -> Player:
        parent_pid = self._stage.ids.pid_of(parent) if parent else None
        creator = self._stage.player(by.process)
        started = creator.order(
            by.thread, "start", command=self._command(name), tell=tell, parent=parent_pid, **how
        )
        return self._stage.enter(name, api.Started(*started), thread or MAIN)

    def _connect(self, player: Player) -> None:
        if player.name in self._acting:
            self._stage.connect(player)
        else:
            _settle(player)

    def _first_thread(self, step: FirstThread) -> None:
        player = self._stage.player(step.process)
        tid = player.threads[MAIN]
        if self._tell == BOTH:
            self._order(step.by, "tell_thread", pid=player.pid, tid=tid)
        if step.named:
            self._stage.note_thread(player, step.named, tid)

    def _foreign(self, step: MakesThread, deed: str, **arguments: object) -> None:
        player = self._stage.player(step.process)
        tid = self._order(step.by, deed, pid=player.pid, tell=self._tell, **arguments)
        self._stage.note_thread(player, step.named, tid, remote=True)

    def _attach(self, step: AttachDebugger) -> None:
        if not step.invasive:
            self._order(step.by, "suspend_process", pid=self._stage.ids.pid_of(step.process))
            return
        self._foreign(step, "attach")
        self._stage.player(step.process).debugger = step.by.thread

    def _detach(self, step: Detach) -> None:
        player = self._stage.player(step.process)
        if player.debugger is None:
            self._order(step.by, "resume_process", pid=player.pid)
            return
        self._order(step.by._replace(thread=player.debugger), "detach", pid=player.pid)
        player.debugger = None

    def _done_with_cdb(self, step: Step) -> bool:
        """Do *step* if it is one of a debugger that cdb plays, and return whether it is."""
        match step:
            case StartUnderDebugger() | AttachDebugger() | BreakIn() | Detach():
                if step.by.process in self._for_cdb:
                    self._debug_with_cdb(step)
                    return True
        return step.process in self._for_cdb  # it is started, and cdb comes with its debuggee

    def _debug_with_cdb(self, step: StartUnderDebugger | AttachDebugger | BreakIn | Detach) -> None:
        self._stage.ids.threads[step.by] = None
        name = step.by.process
        match step:
            case StartUnderDebugger():
                cdb = self._enter_cdb(name, Cdb.starting(self._cdb, self._command(step.process)))
                player = self._stage.enter(step.process, cdb.stopped(), step.named or MAIN)
                cdb.go()
                self._connect(player)
            case AttachDebugger():
                player = self._stage.player(step.process)
                cdb = Cdb.attached(self._cdb, player.pid, invasive=step.invasive)
                self._enter_cdb(name, cdb)
                if step.invasive:
                    self._stage.note_thread(player, step.named, cdb.broken_in(), remote=True)
                else:
                    cdb.stopped()
            case BreakIn():
                player = self._stage.player(step.process)
                self._stage.note_thread(player, step.named, self._cdbs[name].break_in(), remote=True)
            case Detach():
                self._cdbs[name].detach()

    def _enter_cdb(self, name: str, cdb: Cdb) -> Cdb:
        self._stack.callback(cdb.close)
        self._stage.ids.processes[name] = cdb.pid
        self._cdbs[name] = cdb
        return cdb

    def _exit_thread(self, step: ExitThread) -> None:
        player = self._stage.player(step.process)
        tid = player.threads.pop(step.thread)
        if step.thread not in player.remote:
            player.order(step.thread, "end")
        if not api.wait_for_thread(tid, _PATIENCE):
            raise PerformanceError(f"the thread {Who(step.process, step.thread)} did not end")
        if self._tell == BOTH:
            self._stage.deeds.tell_exit(player.pid, tid)

    def _exit_process(self, process: str) -> None:
        player = self._stage.player(process)
        api.terminate(player.pid)
        if not api.wait_for_process(player.pid, _PATIENCE):
            raise PerformanceError(f"{process} did not end")
        if self._tell == BOTH:
            self._stage.deeds.tell_exit(player.pid)


def _settle(player: Player) -> None:
    """Wait until a program has mapped its modules: before that, nobody can attach to it."""
    deadline, known = time.monotonic() + _PATIENCE, 0
    while time.monotonic() < deadline:
        time.sleep(_SETTLE_SECONDS)
        if api.wait_for_process(player.pid, 0):
            raise PerformanceError(f"{player.name} ({player.pid}) ended as soon as it was started")
        before, known = known, sum(1 for _ in system.modules(player.pid, 0))
        if known == before > 0:
            return


def _flat(steps: Iterable[Step]) -> Iterator[tuple[int, Step]]:
    """Yield every step with the pause before it; those of a repetition so many times, numbered."""
    for step in steps:
        pause = PACE if step.after is None else step.after
        if not isinstance(step, Repeat):
            yield pause, step
            continue
        for number in range(1, step.times + 1):
            first, *others = _flat(each.numbered(number) for each in step.steps)
            yield (pause if number == 1 else step.every), first[1]
            yield from others
