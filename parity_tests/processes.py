"""Who is who in a story: which ids the named processes and threads have, and who lives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from parity_tests.addresses import SYSTEM_IMAGES
from parity_tests.errors import ScenarioError
from parity_tests.scenario import IDLE, SYSTEM, Actor
from parity_tests.steps import MAIN, MakesThread, Who

if TYPE_CHECKING:
    from collections.abc import Iterator

    from parity_tests.scenario import Scenario

_FIRST_ID: Final = 1000
_ID_STEP: Final = 4


@dataclass
class Life:
    """One process of the story, from its start to its end; *born* is a FILETIME, None for before the story."""

    actor: Actor
    pid: int
    born: int | None = None
    starter: str | None = None
    threads: dict[str, int] = field(default_factory=dict)
    mapped: list[str] = field(default_factory=list)
    announced: bool = False
    alive: bool = True
    suspended: bool = False
    debugger: str | None = None


class Cast:
    """The processes and threads of a story by name; raises ScenarioError for who is not there.

    A name is one life: a process that gets another's id has a name of its own.
    """

    def __init__(self, scenario: Scenario) -> None:
        self._actors = scenario.actors
        self._lives: dict[str, Life] = {}
        self._thread_ids: dict[Who, int] = {}
        self._taken = _explicit_ids(scenario)
        self._next = _FIRST_ID
        for actor in scenario.actors.values():
            if actor.running:
                self._check_free(actor)
                self._lives[actor.name] = life = Life(actor, self._id(actor.pid), announced=True)
                if actor.name not in (SYSTEM, IDLE):
                    life.mapped += images_of(actor)
                threads = actor.threads if MAIN in actor.threads else {MAIN: None, **actor.threads}
                for name, tid in threads.items():
                    self._name_thread(life, name, self._id(tid))

    def born(self, name: str, starter: Who, time: int) -> Life:
        """Let the process *name* begin to exist at *time*."""
        self.thread(starter)
        if name in self._lives:
            raise ScenarioError(f"{name} was started already; give another life another name")
        actor = self._actors.get(name) or Actor(name=name, image=f"{name}.exe")
        self._check_free(actor)
        self._lives[name] = life = Life(actor, self._id(actor.pid), time, starter.process)
        return life

    def _check_free(self, actor: Actor) -> None:
        if actor.pid is not None and any(other.pid == actor.pid for other in self.alive()):
            raise ScenarioError(f"the id of {actor.name}, {actor.pid}, is in use")

    def living(self, name: str) -> Life:
        """Return the life of the process *name*, which must not have ended."""
        life = self._lives.get(name)
        if life is None:
            raise ScenarioError(f"{name} is not running; start it, or say so under [processes]")
        if not life.alive:
            raise ScenarioError(f"{name} has ended")
        return life

    def alive(self) -> Iterator[Life]:
        """Yield who lives."""
        return (life for life in self._lives.values() if life.alive)

    def thread(self, who: Who) -> tuple[int, int]:
        """Return the pid and the tid of the thread *who*, which must not have ended."""
        life = self.living(who.process)
        if who.thread not in life.threads:
            have = ", ".join(life.threads) or "none"
            raise ScenarioError(f"{who.process} has no thread {who.thread} (it has: {have})")
        return life.pid, life.threads[who.thread]

    def thread_starts(self, process: str, name: str | None, tid: int | None) -> int:
        """Let a thread of *process* begin to exist; return its id."""
        life = self.living(process)
        if name in life.threads:
            raise ScenarioError(f"{process} has a thread {name} already")
        new = self._id(tid)
        self._name_thread(life, name or f"#{new}", new)
        return new

    def thread_ends(self, process: str, name: str) -> int:
        """Let a thread end; return its id."""
        _, tid = self.thread(Who(process, name))
        del self.living(process).threads[name]
        return tid

    def ends(self, name: str) -> Life:
        """Let a process end; return its life."""
        life = self.living(name)
        life.alive = False
        return life

    def pid_of(self, process: str) -> int:
        """Return the id that *process* has or had."""
        if process not in self._lives:
            raise ScenarioError(f"no process {process} is in the story")
        return self._lives[process].pid

    def tid_of(self, who: Who) -> int:
        """Return the id that the thread *who* has or had."""
        self.pid_of(who.process)
        if who not in self._thread_ids:
            raise ScenarioError(f"no thread {who.process}/{who.thread} is in the story")
        return self._thread_ids[who]

    def _name_thread(self, life: Life, name: str, tid: int) -> None:
        life.threads[name] = tid
        self._thread_ids[Who(life.actor.name, name)] = tid

    def _id(self, wanted: int | None) -> int:
        if wanted is not None:
            return wanted
        while self._next in self._taken:
            self._next += _ID_STEP
        self._next += _ID_STEP
        return self._next - _ID_STEP


def images_of(actor: Actor) -> tuple[str, ...]:
    """Return all that *actor* maps: its program first."""
    return actor.image, *SYSTEM_IMAGES, *actor.images


def _explicit_ids(scenario: Scenario) -> set[int]:
    """Return the ids that the scenario gives out itself."""
    ids = {step.tid for step in scenario.flat_steps() if isinstance(step, MakesThread)}
    for actor in scenario.actors.values():
        ids |= {actor.pid, *actor.threads.values()}
    return {each for each in ids if each is not None}
