"""The rule: which thread creations are remote.

The KDetector driver applies the same rule, row for row; the architecture page has the table. This module knows
no bytes, files, clocks or Windows: events go in, in time order, and remote threads come out.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from etwdetect.core.consistency import SECOND_START
from etwdetect.core.doubts import Contradictions, Overflow, SessionStart
from etwdetect.core.events import (
    IDLE_PID,
    SYSTEM_PID,
    UNKNOWN_ID,
    Contradiction,
    Event,
    Loss,
    ProcessRundown,
    ProcessStart,
    ProcessStop,
    SourceStart,
    ThreadRundown,
    ThreadStart,
)
from etwdetect.core.rule_state import STATE_VERSION, RuleState, check_version

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable, Iterator
    from typing import Self

DEFAULT_BOUND: Final = 16_384
"""How many entries the new-process table has, in this detector and in the driver."""

MOST_MISSES: Final = 10
"""How many possible misses are kept."""

EXCLUDED_PIDS: Final = frozenset((IDLE_PID, SYSTEM_PID))


class RemoteThread(NamedTuple):
    """One process created a thread in another one.

    The first five fields are the driver's 24-byte record, struct format ``<q4I``. *time* is a FILETIME in
    100 ns units since 1601-01-01 UTC. *start_address* is where the thread begins to run, as the creator asked.
    *creator_tid* and *start_address* are None where the source does not tell them. *evidence* names what makes the
    record less than certain.
    """

    time: int
    creator_pid: int
    creator_tid: int | None
    pid: int
    tid: int
    start_address: int | None = None
    evidence: tuple[str, ...] = ()


class NewProcessTable:
    """The processes that were created and have no thread yet, in order of insertion, at most *bound*."""

    def __init__(self, bound: int = DEFAULT_BOUND) -> None:
        if bound < 1:
            raise ValueError(f"the bound of the new-process table must be at least 1, not {bound}")
        self.bound = bound
        self.evictions = 0
        self._pids: OrderedDict[int, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._pids)

    def __contains__(self, pid: object) -> bool:
        return pid in self._pids

    def __iter__(self) -> Iterator[int]:
        return iter(self._pids)

    def add(self, pid: int) -> int | None:
        """Make *pid* the newest entry; return the pid that was evicted for it, if any."""
        self._pids[pid] = None
        self._pids.move_to_end(pid)
        if len(self._pids) <= self.bound:
            return None
        self.evictions += 1
        return self._pids.popitem(last=False)[0]

    def take(self, pid: int) -> bool:
        """Remove *pid*; return whether it was there."""
        if pid not in self._pids:
            return False
        del self._pids[pid]
        return True

    def snapshot(self) -> tuple[tuple[int, ...], int]:
        """Return the entries, the oldest first, and the number of evictions."""
        return tuple(self._pids), self.evictions

    def restore(self, pids: Iterable[int], evictions: int) -> None:
        """Take over what `snapshot` returned."""
        self._pids = OrderedDict.fromkeys(pids)
        self.evictions = evictions


@dataclass
class RuleCounts:
    """How many thread starts met each line of the rule."""

    own: int = 0
    excluded: int = 0
    first: int = 0
    remote: int = 0
    unknown: int = 0

    @property
    def seen(self) -> int:
        """All thread starts."""
        return self.own + self.excluded + self.first + self.remote + self.unknown


class RemoteThreadRule:
    """Applies the rule to events that come in time order.

    *session_start* is the FILETIME from which on nothing is missing: the first process or thread event that was
    recorded. None where it is not known. A process that started just before it and gets its first thread just
    after it looks like the target of a remote thread.
    """

    def __init__(self, bound: int = DEFAULT_BOUND, session_start: int | None = None) -> None:
        self.table = NewProcessTable(bound)
        self.counts = RuleCounts()
        self._start = SessionStart(session_start)
        self._overflow = Overflow(bound)
        self._contradictions = Contradictions()
        self.possible_misses: list[ThreadStart] = []
        """First threads behind a second start of a process that was running: they may be remote.

        At most MOST_MISSES are kept; `possible_miss_count` counts all.
        """
        self.possible_miss_count = 0
        self._events_lost = 0
        self._buffers_lost = 0

    def observe(self, event: Event) -> RemoteThread | None:
        """Take the next event; return the remote thread that it is, if it is one."""
        match event:
            case ThreadStart():
                return self._thread_started(event)
            case ProcessStart(pid=pid):
                evicted = self.table.add(pid)
                self._start.born(event)
                self._contradictions.of_another(pid)
                self._overflow.born(pid, evicted)
            case ProcessStop(pid=pid):
                self.table.take(pid)
                self._start.exited(pid)
                self._overflow.exited(pid)
                self._contradictions.of_another(pid)
            case ProcessRundown():
                self._start.found(event)
            case ThreadRundown():
                self._start.has_a_thread(event)
            case SourceStart(time=time):
                self._start.begins(time)
            case Contradiction():
                self._contradictions.add(event)
            case Loss(events=events, buffers=buffers):
                self._events_lost += events
                self._buffers_lost += buffers
        return None

    @property
    def remembered(self) -> set[int]:
        """The processes about which anything is remembered."""
        return set(self.table) | self._start.pids | self._overflow.pids | self._contradictions.pids

    @property
    def room(self) -> int:
        """How many more processes can be remembered before anything is forgotten; 0 where that is not known."""
        if self._overflow.began:
            return 0
        return min(self.table.bound - len(self.table), self._start.room)

    def count(self, counts: RuleCounts) -> None:
        """Add *counts* of events that were passed over because they change nothing else."""
        for line, number in vars(counts).items():
            setattr(self.counts, line, getattr(self.counts, line) + number)

    def snapshot(self, now: int) -> RuleState:
        """Return the state that `restore` needs to continue from here; `counts` is not part of it.

        *now* is the FILETIME of the last event: what no later event can need is left out.
        """
        pids, evictions = self.table.snapshot()
        start, known = self._start.snapshot(now)
        overflow = self._overflow.snapshot()
        lost = self._events_lost, self._buffers_lost
        contradictions = self._contradictions.snapshot()
        bound = self.table.bound
        return RuleState(STATE_VERSION, bound, pids, evictions, start, known, *overflow, *lost, contradictions)

    @property
    def contradictions(self) -> Counter[str]:
        """How many contradictions were told, by name; other names than the first 64 are not counted."""
        return self._contradictions.counts

    @classmethod
    def restore(cls, state: RuleState) -> Self:
        """Return a rule that continues where `snapshot` was called; ValueError for a state of another version."""
        check_version(state.version)
        rule = cls(state.bound, state.session_start)
        rule.table.restore(state.new_processes, state.evictions)
        rule._start.restore(state.known)
        rule._overflow.restore(state.overflowed, began=state.overflow_began, everything=state.all_overflowed)
        rule._events_lost = state.events_lost
        rule._buffers_lost = state.buffers_lost
        rule._contradictions.restore(state.contradictions)
        return rule

    def _thread_started(self, event: ThreadStart) -> RemoteThread | None:
        creator, target = event.creator_pid, event.pid
        is_first = self.table.take(target)
        if creator == UNKNOWN_ID:
            self.counts.unknown += 1
        elif creator == target:
            self.counts.own += 1
        elif creator in EXCLUDED_PIDS or target in EXCLUDED_PIDS:
            self.counts.excluded += 1
        elif is_first:
            self.counts.first += 1
            if self._contradictions.has(SECOND_START, target):
                self._may_miss(event)
        else:
            self.counts.remote += 1
            return RemoteThread(*event[:6], evidence=self._evidence(event))
        return None

    def _may_miss(self, event: ThreadStart) -> None:
        self.possible_miss_count += 1
        if len(self.possible_misses) < MOST_MISSES:
            self.possible_misses.append(event)

    def _evidence(self, event: ThreadStart) -> tuple[str, ...]:
        evidence = []
        if self._start.doubts(event):
            evidence.append("session-start")
        if self._events_lost:
            evidence.append(f"events-lost:{self._events_lost}")
        if self._buffers_lost:
            evidence.append(f"buffers-lost:{self._buffers_lost}")
        if self._overflow.doubts(event.pid):
            evidence.append("table-overflow")
        return (*evidence, *self._contradictions.of(event))
