"""What makes a remote thread less than certain: starts that were not seen, a full table, and contradictions.

The rule tells each of these what happens to processes, and asks them for the evidence of a remote thread.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from etwdetect.core.events import Contradiction, ProcessRundown, ProcessStart, ThreadRundown, ThreadStart

SESSION_START_MARGIN: Final = 10_000_000
"""One second, in 100 ns units: so long after a source begins, a process that started unseen may get its first
thread."""


class SessionStart:
    """Knows which targets may have started unseen: before a source began, whose first second is in doubt."""

    _MOST_KNOWN = 65_536
    """More than ever run at once. Targets beyond this bound count as unknown."""

    def __init__(self, session_start: int | None) -> None:
        self._time = session_start
        self._known: set[int] = set()
        """The running processes that were seen to start, or listed as older than the latest source."""

    @property
    def pids(self) -> set[int]:
        """The processes that are known to run."""
        return self._known

    @property
    def room(self) -> int:
        """How many more processes can become known; 0 where it is not known when the source began."""
        return 0 if self._time is None else self._MOST_KNOWN - len(self._known)

    def begins(self, time: int) -> None:
        """Take the beginning of another source; who is known to be older stays so."""
        self._time = time

    def born(self, event: ProcessStart) -> None:
        """Take the start of a process."""
        if self._time is not None and event.time >= self._time - SESSION_START_MARGIN:
            self._know(event.pid)

    def found(self, event: ProcessRundown) -> None:
        """Take a process that was found to run."""
        created = event.create_time
        if self._time is not None and created is not None and created < self._time - SESSION_START_MARGIN:
            self._know(event.pid)

    def has_a_thread(self, event: ThreadRundown) -> None:
        """Take a thread that was found to exist: its process has had its first one."""
        self._know(event.pid)

    def exited(self, pid: int) -> None:
        """Take the exit of process *pid*."""
        self._known.discard(pid)

    def _know(self, pid: int) -> None:
        if self._time is not None and len(self._known) < self._MOST_KNOWN:
            self._known.add(pid)

    def doubts(self, event: ThreadStart) -> bool:
        """Whether the target may have started unseen just before."""
        return self._in_doubt(event.time) and event.pid not in self._known

    def _in_doubt(self, time: int) -> bool:
        """Whether *time* is not later than the margin: before a circular log's start, events are missing too."""
        return self._time is not None and time - self._time <= SESSION_START_MARGIN

    def snapshot(self, now: int) -> tuple[int | None, tuple[int, ...]]:
        """Return the latest start and the known processes; nothing once the margin is over at *now*."""
        return (self._time, tuple(sorted(self._known))) if self._in_doubt(now) else (None, ())

    def restore(self, known: Iterable[int]) -> None:
        """Take over the processes that `snapshot` returned."""
        self._known = set(known)


class Overflow:
    """Knows which targets the new-process table may have evicted before their first thread came.

    These are the evicted ones and every process that started since the first eviction. Once they outnumber the
    table itself, every target is in doubt.
    """

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self.pids: set[int] = set()
        self.began = False
        self._everything = False

    def born(self, pid: int, evicted: int | None) -> None:
        """Take the start of process *pid*, for which the table *evicted* another one."""
        if evicted is not None:
            self.began = True
            self.pids.add(evicted)
        if self.began:
            self.pids.add(pid)
            if len(self.pids) > 2 * self._bound:
                self._everything = True
                self.pids.clear()

    def exited(self, pid: int) -> None:
        """Take the exit of process *pid*."""
        self.pids.discard(pid)

    def doubts(self, pid: int) -> bool:
        """Whether the table may have evicted process *pid*."""
        return self._everything or pid in self.pids

    def snapshot(self) -> tuple[tuple[int, ...], bool, bool]:
        """Return the processes in doubt, whether anything was evicted, and whether every target is in doubt."""
        return tuple(sorted(self.pids)), self.began, self._everything

    def restore(self, pids: Iterable[int], *, began: bool, everything: bool) -> None:
        """Take over what `snapshot` returned."""
        self.pids = set(pids)
        self.began = began
        self._everything = everything


class Contradictions:
    """Knows the contradictions that touch each process, and those of the whole recording under None."""

    _MOST = 65_536
    """Of how many processes they are kept."""
    _MOST_OF_ONE = 8
    _MOST_NAMES = 64

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._names: dict[int | None, tuple[str, ...]] = {}

    @property
    def pids(self) -> set[int]:
        """The processes that contradictions touch."""
        return {pid for pid in self._names if pid is not None}

    def add(self, event: Contradiction) -> None:
        """Count a contradiction, and keep its name for its process."""
        if event.name in self.counts or len(self.counts) < self._MOST_NAMES:
            self.counts[event.name] += 1
        names = self._names.get(event.pid, ())
        is_room = len(names) < self._MOST_OF_ONE and (names or len(self._names) < self._MOST)
        if event.name not in names and is_room:
            self._names[event.pid] = (*names, event.name)

    def of_another(self, pid: int) -> None:
        """Forget what touches the process that had *pid* until now."""
        if self._names:
            self._names.pop(pid, None)

    def has(self, name: str, pid: int) -> bool:
        """Whether the contradiction *name* touches process *pid* itself."""
        return name in self._names.get(pid, ())

    def of(self, event: ThreadStart) -> list[str]:
        """Return the names of those that touch a thread's creator, its target or the whole recording."""
        if not self._names:
            return []
        return sorted({name for key in (None, event.creator_pid, event.pid) for name in self._names.get(key, ())})

    def snapshot(self) -> tuple[tuple[int | None, tuple[str, ...]], ...]:
        """Return the names by process, in the order in which they were told."""
        return tuple(self._names.items())

    def restore(self, names: Iterable[tuple[int | None, Iterable[str]]]) -> None:
        """Take over what `snapshot` returned."""
        self._names = {pid: tuple(of_one) for pid, of_one in names}
