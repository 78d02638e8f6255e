"""Performs a scenario: starts its processes, has them perform the steps, and returns both detectors' reports."""

from __future__ import annotations

import os
import threading
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from etwdetect.comparison.pairing import Equality
from etwdetect.live import system
from parity_tests.errors import CdbError, NotepadError, PerformanceError
from parity_tests.evaluation import Observation
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
    Resume,
    StartDetection,
    StartProcess,
    StartSuspended,
    StartUnderDebugger,
    ThreadRef,
)
from parity_tests.timeline import paced
from parity_tests.windows import api, cdb_roles, machine
from parity_tests.windows.actions import ALL, NOTHING, PROCESS_ONLY, notifier
from parity_tests.windows.agents import Agents
from parity_tests.windows.cdb import Cdb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from etwdetect.comparison.pairing import RecordIds
    from parity_tests.scenario import Scenario, ScenarioProcess
    from parity_tests.steps import Step
    from parity_tests.windows.agents import AgentHandle
    from parity_tests.windows.detectors import Detectors

_LONGEST_PAUSE: Final = 200_000
"""20 ms in 100 ns units: more than the margin for the order of records. Longer pauses are shortened to it."""

_QUIET_SECONDS: Final = 1.0
_POLL_SECONDS: Final = 0.1
_TIMEOUT_SECONDS: Final = 15.0
_MARKER: Final = "(marker)"
_HARMLESS: Final = "kernel32.dll!GetTickCount"
_STARTS: Final = ("nowhere", "kernel32.dll!LoadLibraryA", "kernel32.dll!LoadLibraryW")
"""The start addresses that are really used; any other could do harm and is replaced by _HARMLESS."""


@dataclass
class Programs:
    """The programs that act besides agents.

    *cdb* is the command of cdb, which is used for the debuggers that can be cdb; agents use the debug API for the
    others. *notepad*: Notepad is Notepad, or else a program that does nothing; *no_notepad* is the reason, where
    Notepad was tried in vain.
    """

    cdb: Sequence[str] = ()
    notepad: bool = False
    no_notepad: str | None = None


def perform(
    scenario: Scenario, detect: Callable[[], Detectors], *, notify: bool, programs: Programs | None = None
) -> Observation:
    """Perform *scenario* and return what both detectors reported.

    *detect* returns the detectors; *notify*: we notify them, as in Wine. If a program fails, the scenario is
    performed again without it; without Notepad, so are all later ones with these *programs*. Raises
    PerformanceError, KDetectorError, LiveError and OSError.
    """
    api.keep_standard_handles()
    programs = programs or Programs()
    cdb, notes = programs.cdb, []
    while True:
        try:
            observation = _perform(scenario, detect, notify=notify, cdb=cdb, programs=programs)
        except CdbError as error:
            cdb = ()
            notes.append(f"performed again without cdb: {error}")
        except NotepadError as error:
            programs.notepad, programs.no_notepad = False, str(error)
        else:
            return replace(observation, notes=(*notes, *observation.notes))


def _perform(
    scenario: Scenario, detect: Callable[[], Detectors], *, notify: bool, cdb: Sequence[str], programs: Programs
) -> Observation:
    with ExitStack() as stack:
        _ = notify and notifier()  # before anything is done that the stand-in would log by itself
        agents = stack.enter_context(closing(Agents(notepad=programs.notepad)))
        observation = _Executor(scenario, agents, stack, detect, notify=notify, cdb=cdb).perform()
        if programs.no_notepad is None or not agents.replaced:
            return observation
        note = f"{', '.join(agents.replaced)} was performed by cmd.exe: {programs.no_notepad}"
        return replace(observation, notes=(note, *observation.notes))


class _Executor:
    def __init__(  # noqa: PLR0913 (once)
        self,
        scenario: Scenario,
        agents: Agents,
        stack: ExitStack,
        detect: Callable[[], Detectors],
        *,
        notify: bool,
        cdb: Sequence[str],
    ) -> None:
        self._scenario = scenario
        self._agents = agents
        self._stack = stack
        self._detect = detect
        self._notify = notify
        self._detectors: Detectors | None = None
        self._opening: RecordIds = (0, 0, 0, 0)
        self._cdb = cdb
        self._cdbs: dict[str, Cdb] = {}
        steps = [step for _, step in paced(scenario.steps)]
        self._for_cdb = cdb_roles.for_cdb(steps) if cdb else frozenset()
        self._debuggers = cdb_roles.debuggers(steps)
        self._with_agents = {by.process for step in steps if (by := getattr(step, "by", None))} - self._for_cdb

    @property
    def _notify_of(self) -> str:
        """What to notify the detectors of: nothing before detection starts."""
        return ALL if self._notify and self._detectors else NOTHING

    def perform(self) -> Observation:
        try:
            return self._perform()
        except PerformanceError as error:
            notepad = self._agents.handed_over()
            if notepad is None:
                raise
            raise NotepadError(
                f"Notepad ({notepad.pid}) ended by itself, as where it hands over to the Notepad from the Store"
            ) from error

    def _perform(self) -> Observation:
        for process in self._scenario.processes.values():
            if process.running and process.name not in (SYSTEM, IDLE, *self._for_cdb):
                self._start_running(process)
        marker = self._agents.command(_MARKER, _MARKER, with_agent=False)
        _wait_until_loaded(self._agents.add(_MARKER, self._agents.actions.start(marker, NOTHING)))
        if not self._scenario.begins_inside:
            self._begin()
        for pause, step in paced(self._scenario.steps):
            time.sleep(min(pause, _LONGEST_PAUSE) / 10_000_000)
            if not self._done_with_cdb(step):
                self._do(step)
        assert self._detectors is not None
        etw, driver = self._detectors.sides(self._opening, self._mark(self._detectors))
        notes = (*self._detectors.notices, *self._debugger_notes())
        pids = {pid for record in (*etw.records, *driver.records) for pid in (record.creator_pid, record.pid)}
        minimal = machine.minimal_processes(pids)
        return Observation(etw, driver, Equality.LIVE, self._agents.ids, notes, minimal)

    def _debugger_notes(self) -> Iterator[str]:
        """Yield how each debugger was performed, where cdb could have been used."""
        for name in self._debuggers if self._cdb or not self._notify else ():
            yield f"{name} was performed by {'cdb' if name in self._for_cdb else 'the debug API'}"

    def _start_running(self, process: ScenarioProcess) -> None:
        """Start a process that runs before the first step; detection has not started yet."""
        agent = self._agents.add(process.name, self._agents.actions.start(self._command(process.name), NOTHING))
        self._connect(agent)
        for thread in process.threads if agent.lines else ():
            if thread != MAIN:
                tid = agent.request(MAIN, "own_thread", name=thread, notify_of=NOTHING)
                self._agents.note_thread(agent, thread, tid)

    def _command(self, name: str) -> str:
        process = self._scenario.processes.get(name)
        image = process.image if process else f"{name}.exe"
        return self._agents.command(name, image, with_agent=name in self._with_agents)

    def _begin(self) -> None:
        detectors = self._stack.enter_context(self._detect())
        if not self._notify:
            detectors.wait_until_quiet(_QUIET_SECONDS)
        self._detectors = detectors
        self._opening = self._mark(detectors)

    def _mark(self, detectors: Detectors) -> RecordIds:
        """Create a marker thread, apart from other records in time, and wait until both have reported it."""
        time.sleep(_LONGEST_PAUSE / 10_000_000)
        pid = self._agents.ids.pid_of(_MARKER)
        ids = (
            os.getpid(),
            threading.get_native_id(),
            pid,
            self._agents.actions.remote_thread(pid, _HARMLESS, self._notify_of),
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
                agent = self._agents.agent(step.process)
                self._request(step.by, "resume", tid=agent.threads[MAIN])
                self._connect(agent)
            case ExitThread():
                self._exit_thread(step)
            case ExitProcess():
                self._exit_process(step.process)
            case StartDetection():
                self._begin()
            case _:
                raise PerformanceError(f"{step.action} cannot be performed with real processes")

    def _make_thread(self, step: MakesThread) -> None:
        match step:
            case FirstThread():
                self._first_thread(step)
            case CreateThread():
                agent = self._agents.agent(step.process)
                name = step.named or f"#{len(agent.threads)}"
                self._agents.note_thread(
                    agent, name, self._request(step.by, "own_thread", name=name, notify_of=self._notify_of)
                )
            case CreateRemoteThread():
                at = step.at if step.at in _STARTS else _HARMLESS
                self._foreign(step, "remote_thread", at=at)
            case AttachDebugger():
                self._attach(step)
            case BreakIn():
                self._foreign(step, "break_in")

    def _request(self, by: ThreadRef, action: str, **arguments: object) -> int:
        answer: int = self._agents.agent(by.process).request(by.thread, action, **arguments)
        return answer

    def _start(self, step: StartProcess) -> None:
        suspended, debugged = isinstance(step, StartSuspended), isinstance(step, StartUnderDebugger)
        agent = self._create(
            step.process, step.by, step.parent, self._notify_of, step.named, suspended=suspended, debugged=debugged
        )
        if debugged:
            agent.debugger = step.by.thread
        if not suspended:
            self._connect(agent)

    def _announce(self, step: BeginProcess) -> None:
        """Start a process and notify of the process alone; its first thread may follow in a later step."""
        notify_of = PROCESS_ONLY if self._notify_of == ALL else NOTHING
        with_agent = step.process in self._with_agents
        agent = self._create(step.process, step.by, step.parent, notify_of, None, suspended=not with_agent)
        if with_agent:
            self._connect(agent)

    def _create(
        self, name: str, by: ThreadRef, parent: str | None, notify_of: str, thread: str | None, **how: bool
    ) -> AgentHandle:
        parent_pid = self._agents.ids.pid_of(parent) if parent else None
        creator = self._agents.agent(by.process)
        started = creator.request(
            by.thread, "start", command=self._command(name), notify_of=notify_of, parent=parent_pid, **how
        )
        return self._agents.add(name, api.Started(*started), thread or MAIN)

    def _connect(self, agent: AgentHandle) -> None:
        if agent.name in self._with_agents:
            self._agents.connect(agent)
        else:
            _wait_until_loaded(agent)

    def _first_thread(self, step: FirstThread) -> None:
        agent = self._agents.agent(step.process)
        tid = agent.threads[MAIN]
        if self._notify_of == ALL:
            self._request(step.by, "notify_thread", pid=agent.pid, tid=tid)
        if step.named:
            self._agents.note_thread(agent, step.named, tid)

    def _foreign(self, step: MakesThread, action: str, **arguments: object) -> None:
        agent = self._agents.agent(step.process)
        tid = self._request(step.by, action, pid=agent.pid, notify_of=self._notify_of, **arguments)
        self._agents.note_thread(agent, step.named, tid, remote=True)

    def _attach(self, step: AttachDebugger) -> None:
        if not step.invasive:
            self._request(step.by, "suspend_process", pid=self._agents.ids.pid_of(step.process))
            return
        self._foreign(step, "attach")
        self._agents.agent(step.process).debugger = step.by.thread

    def _detach(self, step: Detach) -> None:
        agent = self._agents.agent(step.process)
        if agent.debugger is None:
            self._request(step.by, "resume_process", pid=agent.pid)
            return
        self._request(step.by._replace(thread=agent.debugger), "detach", pid=agent.pid)
        agent.debugger = None

    def _done_with_cdb(self, step: Step) -> bool:
        """Perform *step* with cdb if its debugger is cdb; return whether it is done."""
        match step:
            case StartUnderDebugger() | AttachDebugger() | BreakIn() | Detach():
                if step.by.process in self._for_cdb:
                    self._debug_with_cdb(step)
                    return True
        return step.process in self._for_cdb  # a start of the debugger itself: cdb starts with its debuggee

    def _debug_with_cdb(self, step: StartUnderDebugger | AttachDebugger | BreakIn | Detach) -> None:
        self._agents.ids.threads[step.by] = None
        name = step.by.process
        match step:
            case StartUnderDebugger():
                cdb = self._enter_cdb(name, Cdb.starting(self._cdb, self._command(step.process)))
                agent = self._agents.add(step.process, cdb.stopped(), step.named or MAIN)
                cdb.go()
                self._connect(agent)
            case AttachDebugger():
                agent = self._agents.agent(step.process)
                cdb = Cdb.attached(self._cdb, agent.pid, invasive=step.invasive)
                self._enter_cdb(name, cdb)
                if step.invasive:
                    self._agents.note_thread(agent, step.named, cdb.broken_in(), remote=True)
                else:
                    cdb.stopped()
            case BreakIn():
                agent = self._agents.agent(step.process)
                self._agents.note_thread(agent, step.named, self._cdbs[name].break_in(), remote=True)
            case Detach():
                self._cdbs[name].detach()

    def _enter_cdb(self, name: str, cdb: Cdb) -> Cdb:
        self._stack.callback(cdb.close)
        self._agents.ids.processes[name] = cdb.pid
        self._cdbs[name] = cdb
        return cdb

    def _exit_thread(self, step: ExitThread) -> None:
        agent = self._agents.agent(step.process)
        tid = agent.threads.pop(step.thread)
        if step.thread not in agent.remote:
            agent.request(step.thread, "end")
        if not api.wait_for_thread(tid, _TIMEOUT_SECONDS):
            raise PerformanceError(f"the thread {ThreadRef(step.process, step.thread)} did not exit")
        if self._notify_of == ALL:
            self._agents.actions.notify_exit(agent.pid, tid)

    def _exit_process(self, process: str) -> None:
        agent = self._agents.agent(process)
        agent.ended = True
        api.terminate(agent.pid)
        if not api.wait_for_process(agent.pid, _TIMEOUT_SECONDS):
            raise PerformanceError(f"{process} did not exit")
        if self._notify_of == ALL:
            self._agents.actions.notify_exit(agent.pid)


def _wait_until_loaded(agent: AgentHandle) -> None:
    """Wait until a program has mapped its modules; before that, attaching to it fails."""
    deadline, known = time.monotonic() + _TIMEOUT_SECONDS, 0
    while time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
        if api.wait_for_process(agent.pid, 0):
            raise PerformanceError(f"{agent.name} ({agent.pid}) exited right after its start")
        before, known = known, sum(1 for _ in system.modules(agent.pid, 0))
        if known == before > 0:
            return
