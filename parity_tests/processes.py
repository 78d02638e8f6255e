"""The processes and threads of a timeline: their ids by name, and which of them are running."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from parity_tests.addresses import SYSTEM_IMAGES
from parity_tests.errors import ScenarioError
from parity_tests.scenario import IDLE, SYSTEM, ScenarioProcess
from parity_tests.steps import MAIN, MakesThread, ThreadRef

if TYPE_CHECKING:
    from collections.abc import Iterator

    from parity_tests.scenario import Scenario

_FIRST_ID: Final = 1000
_ID_STEP: Final = 4


@dataclass
class ProcessState:
    """The state of one process; *started* is a FILETIME, or None if it runs from the beginning."""

    definition: ScenarioProcess
    pid: int
    started: int | None = None
    starter: str | None = None
    threads: dict[str, int] = field(default_factory=dict)
    mapped: list[str] = field(default_factory=list)
    announced: bool = False
    alive: bool = True
    suspended: bool = False
    debugger: str | None = None


class Processes:
    """The processes and threads of a timeline by name. Unknown or ended names raise ScenarioError.

    A name stands for one process: a process that reuses an id has a name of its own.
    """

    def __init__(self, scenario: Scenario) -> None:
        self._definitions = scenario.processes
        self._states: dict[str, ProcessState] = {}
        self._thread_ids: dict[ThreadRef, int] = {}
        self._taken = _explicit_ids(scenario)
        self._next = _FIRST_ID
        for definition in scenario.processes.values():
            if definition.running:
                self._check_free(definition)
                state = ProcessState(definition, self._id(definition.pid), announced=True)
                self._states[definition.name] = state
                if definition.name not in (SYSTEM, IDLE):
                    state.mapped += images_of(definition)
                threads = definition.threads if MAIN in definition.threads else {MAIN: None, **definition.threads}
                for name, tid in threads.items():
                    self._name_thread(state, name, self._id(tid))

    def start_process(self, name: str, starter: ThreadRef, time: int) -> ProcessState:
        """Add the process *name*, started by *starter* at *time* (FILETIME)."""
        self.thread_ids(starter)
        if name in self._states:
            raise ScenarioError(f"{name} was started already; give the second process a name of its own")
        definition = self._definitions.get(name) or ScenarioProcess(name=name, image=f"{name}.exe")
        self._check_free(definition)
        self._states[name] = state = ProcessState(definition, self._id(definition.pid), time, starter.process)
        return state

    def _check_free(self, definition: ScenarioProcess) -> None:
        if definition.pid is not None and any(other.pid == definition.pid for other in self.all_running()):
            raise ScenarioError(f"the id of {definition.name}, {definition.pid}, is in use")

    def running(self, name: str) -> ProcessState:
        """Return the state of the process *name*, which must be running."""
        state = self._states.get(name)
        if state is None:
            raise ScenarioError(f"{name} is not running; start it, or set running = true under [processes]")
        if not state.alive:
            raise ScenarioError(f"{name} has ended")
        return state

    def all_running(self) -> Iterator[ProcessState]:
        """Yield the processes that are running."""
        return (state for state in self._states.values() if state.alive)

    def thread_ids(self, thread: ThreadRef) -> tuple[int, int]:
        """Return the pid and tid of *thread*, which must be running."""
        state = self.running(thread.process)
        if thread.thread not in state.threads:
            have = ", ".join(state.threads) or "none"
            raise ScenarioError(f"{thread.process} has no thread {thread.thread} (it has: {have})")
        return state.pid, state.threads[thread.thread]

    def start_thread(self, process: str, name: str | None, tid: int | None) -> int:
        """Add a thread to *process* and return its id, which is *tid* if given."""
        state = self.running(process)
        if name in state.threads:
            raise ScenarioError(f"{process} has a thread {name} already")
        new = self._id(tid)
        self._name_thread(state, name or f"#{new}", new)
        return new

    def end_thread(self, process: str, name: str) -> int:
        """End a thread and return its id."""
        _, tid = self.thread_ids(ThreadRef(process, name))
        del self.running(process).threads[name]
        return tid

    def end_process(self, name: str) -> ProcessState:
        """End a process and return its state."""
        state = self.running(name)
        state.alive = False
        return state

    def pid_of(self, process: str) -> int:
        """Return the id of *process*, ended or not."""
        if process not in self._states:
            raise ScenarioError(f"there is no process {process} in the scenario")
        return self._states[process].pid

    def tid_of(self, thread: ThreadRef) -> int:
        """Return the id of *thread*, ended or not."""
        self.pid_of(thread.process)
        if thread not in self._thread_ids:
            raise ScenarioError(f"there is no thread {thread.process}/{thread.thread} in the scenario")
        return self._thread_ids[thread]

    def _name_thread(self, state: ProcessState, name: str, tid: int) -> None:
        state.threads[name] = tid
        self._thread_ids[ThreadRef(state.definition.name, name)] = tid

    def _id(self, wanted: int | None) -> int:
        if wanted is not None:
            return wanted
        while self._next in self._taken:
            self._next += _ID_STEP
        self._next += _ID_STEP
        return self._next - _ID_STEP


def images_of(definition: ScenarioProcess) -> tuple[str, ...]:
    """Return the images that a process maps, its program first."""
    return definition.image, *SYSTEM_IMAGES, *definition.images


def _explicit_ids(scenario: Scenario) -> set[int]:
    """Return the ids that the scenario file assigns."""
    ids = {step.tid for step in scenario.flat_steps() if isinstance(step, MakesThread)}
    for definition in scenario.processes.values():
        ids |= {definition.pid, *definition.threads.values()}
    return {each for each in ids if each is not None}
