"""Notices processes that are told to start, to end or to act in ways that no Windows would log.

Whoever writes such events can have the rule forget a process, or take a remote thread for a first one. The rule
judges them like all others; a `Contradiction` tells it whom they touch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from etwdetect.core.bounded import BoundedMap
from etwdetect.core.events import (
    IDLE_PID,
    SYSTEM_PID,
    UNKNOWN_ID,
    Contradiction,
    Loss,
    ProcessStart,
    ProcessStop,
    ThreadRundown,
    ThreadStart,
)
from etwdetect.core.filetime import TICKS_PER_MILLISECOND

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from etwdetect.core.events import Event

SECOND_START: Final = "second-start"
"""The evidence of a process that was told to start while it was running."""

SECOND_END: Final = "second-end"
"""The evidence of a process that was told to exit twice, without a start between."""

AFTER_EXIT: Final = "after-exit"
"""The evidence of a process that made a thread or got one behind its exit, without a start between."""

DERIVED: Final = frozenset((SECOND_START, SECOND_END, AFTER_EXIT))
"""The contradictions that follow from the other events."""

MOST_PROCESSES: Final = 65_536
"""How many processes are known to run, and how many to have exited."""

_TOLD_ONCE: Final = TICKS_PER_MILLISECOND
"""Two ends no farther apart than this are one that is told twice."""

NO_PROCESSES: Final = frozenset((IDLE_PID, SYSTEM_PID, UNKNOWN_ID))
"""They are not followed."""


class Consistency:
    """Follows which processes run and which exited, as far as events tell.

    A process runs once it has made a thread or got one: before that, a second telling of its start is harmless.
    """

    def __init__(self) -> None:
        self._running: set[int] = set()
        self._exited: BoundedMap[int, int] = BoundedMap(MOST_PROCESSES)
        """By process id: the FILETIME of the exit, where no start came since."""
        self._risen: set[int] = set()
        """Those of them that were told to act since."""

    @property
    def running(self) -> Collection[int]:
        """The processes that run."""
        return self._running

    @property
    def exited(self) -> Collection[int]:
        """The processes that exited, and did not start since."""
        return self._exited

    @property
    def room(self) -> int:
        """How many more processes can be known to run and to have exited before any is forgotten."""
        return MOST_PROCESSES - max(len(self._running), len(self._exited))

    def lived(self, pid: int, exited: int) -> None:
        """Take that process *pid*, which did not run, started, had threads and exited at the FILETIME *exited*."""
        self._risen.discard(pid)
        self._exit(pid, exited)

    def checked(self, events: Iterable[Event]) -> Iterator[Event]:
        """Yield *events*, which are in order, and each contradiction where it shows."""
        running = self._running
        for event in events:
            if isinstance(event, ThreadStart):
                if event.pid not in running or event.creator_pid not in running:
                    yield from self._act(event.time, event.pid)
                    yield from self._act(event.time, event.creator_pid)
                yield event
                continue
            yield event
            if isinstance(event, ThreadRundown):
                if event.pid not in self._exited:  # a thread may be listed while its process ends
                    self._run(event.pid)
            elif isinstance(event, ProcessStart):
                yield from self._start(event)
            elif isinstance(event, ProcessStop):
                yield from self._stop(event)
            elif isinstance(event, Loss):
                self.lose()

    def lose(self) -> None:
        """Take that events are missing between those so far and those to come: exits may be among them."""
        self._running.clear()

    def _run(self, pid: int) -> None:
        if pid not in NO_PROCESSES and len(self._running) < MOST_PROCESSES:
            self._running.add(pid)

    def _act(self, time: int, pid: int) -> Iterator[Contradiction]:
        """Take that process *pid* makes a thread or gets one."""
        exited = self._exited.get(pid)
        if exited is None:
            self._run(pid)
        elif time > exited and pid not in self._risen:
            self._risen.add(pid)
            yield Contradiction(time, AFTER_EXIT, pid)

    def _start(self, event: ProcessStart) -> Iterator[Contradiction]:
        pid = event.pid
        if pid in self._running:
            yield Contradiction(event.time, SECOND_START, pid)
        self._exited.pop(pid)
        self._risen.discard(pid)

    def _stop(self, event: ProcessStop) -> Iterator[Contradiction]:
        pid = event.pid
        self._running.discard(pid)
        self._risen.discard(pid)
        exited = self._exited.get(pid)
        if exited is not None and event.time - exited > _TOLD_ONCE:
            yield Contradiction(event.time, SECOND_END, pid)
        self._exit(pid, event.time)

    def _exit(self, pid: int, time: int) -> None:
        for forgotten, _ in self._exited.put(pid, time):
            self._risen.discard(forgotten)
