"""Leaves out what is told twice: by sessions that were merged into one file, by joined files, by two providers.

The rule would take the second telling of a first thread for a remote thread, and the second telling of a process
start for a new process. The architecture page says when two tellings are one.
"""

from __future__ import annotations

import heapq
from collections import deque
from operator import itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from etwdetect.core.bounded import BoundedMap
from etwdetect.core.events import (
    UNKNOWN_ID,
    Contradiction,
    ProcessRundown,
    ProcessStart,
    ProcessStop,
    ThreadStart,
    ThreadStop,
)
from etwdetect.core.filetime import TICKS_PER_MILLISECOND
from etwdetect.core.order import order_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from etwdetect.core.events import Event
    from etwdetect.offline.reading import Source

APART: Final = TICKS_PER_MILLISECOND
"""How far apart, in 100 ns units of one raw clock, two tellings of one moment are at the most."""

STEADY: Final = APART // 20
"""How much the distance between two tellings of a start and that of its end may differ."""

TOLD_TWICE: Final = "told-twice"
"""The evidence of a thread start that has the bytes of an earlier one, and may be another."""

ONE_PROVIDER: Final = "one-provider"
"""The evidence of a process with a thread start that only one of two providers told, though both were on."""

MOST_HELD: Final = 65_536
"""How many events are held back until another provider had its time to tell a thread start too."""

MOST_LIVES: Final = 65_536
"""How many processes, and how many threads, are remembered."""

_Facts = tuple[int, int, int | None]
"""The creator's process and thread, and the creation time of a process or the start address of a thread."""


class _Telling(NamedTuple):
    """What one provider tells of a start or an end; *digest* is None where payloads are not compared."""

    time: int
    provider: bytes
    digest: int | None
    facts: _Facts | None = None


class _Moment:
    """The start or the end of one process or thread, as told so far."""

    __slots__ = ("_digests", "apart", "facts", "time", "told")

    def __init__(self, telling: _Telling) -> None:
        self.time = telling.time
        self.facts = telling.facts
        self._digests = {telling.provider: telling.digest}
        self.told = 1
        self.apart = 0
        """How much later than the first its latest telling is."""

    def is_of(self, telling: _Telling) -> bool:
        """Whether *telling* is of this moment. Without a digest, a provider tells once."""
        if not self.is_near(telling):
            return False
        if telling.provider in self._digests:
            return self.has_bytes_of(telling)
        if self.facts is None or telling.facts is None:
            return True
        creators = zip(self.facts[:2], telling.facts[:2], strict=True)
        if any(one != other and UNKNOWN_ID not in {one, other} for one, other in creators):
            return False
        return self.facts[2] == telling.facts[2] or None in {self.facts[2], telling.facts[2]}

    @property
    def providers(self) -> Collection[bytes]:
        """Those that told it."""
        return self._digests.keys()

    def is_near(self, telling: _Telling) -> bool:
        """Whether *telling* is no farther away than two tellings of one moment may be."""
        return abs(telling.time - self.time) <= APART

    def has_bytes_of(self, telling: _Telling) -> bool:
        """Whether the provider of *telling* told the same bytes of this moment."""
        known = self._digests.get(telling.provider)
        return known is not None and known == telling.digest and self.facts == telling.facts

    def tell(self, telling: _Telling) -> bool:
        """Count another telling; return whether its provider is another than before."""
        self.told += 1
        self.apart = telling.time - self.time
        is_new = telling.provider not in self._digests
        self._digests.setdefault(telling.provider, telling.digest)
        return is_new


class _Life:
    """A process or a thread: its start where that was told, its end, and the life before it that had its ids."""

    __slots__ = ("before", "end", "is_end_doubtful", "owner", "start")

    def __init__(self, start: _Moment | None, before: _Life | None, owner: _Life | None = None) -> None:
        self.start = start
        self.end: _Moment | None = None
        self.is_end_doubtful = False
        """Whether its end may be that of the life before, told again."""
        self.before = before
        self.owner = owner
        """Of a thread: the life of its process."""
        if before is not None:
            before.before = None

    def may_be_told_by(self, telling: _Telling) -> bool:
        """Whether *telling* has the bytes of the start, and is behind no end that is sure to be this life's."""
        same = self.start is not None and self.start.has_bytes_of(telling)
        return same and (self.end is None or self.is_end_doubtful)

    @property
    def end_to_tell(self) -> _Moment | None:
        """The end, if it may be told again: what was told to start once ends once."""
        may_be = self.end is not None and (self.start is None or self.end.told < self.start.told)
        return self.end if may_be else None

    def is_end_again(self, telling: _Telling) -> bool:
        """Whether *telling* is as far behind the end as the second telling of the start was behind the first."""
        apart = 0 if self.start is None else self.start.apart
        return self.end is not None and abs(telling.time - self.end.time - apart) <= STEADY


_Lives = BoundedMap[tuple[int, int], _Life]


class Doubles:
    """Puts the events of several sources in order and leaves out what is told twice.

    *one_provider* and *two_providers* count the thread starts left out, by who told them again.
    """

    def __init__(self) -> None:
        self.one_provider = 0
        self.two_providers = 0
        self._processes: _Lives = BoundedMap(MOST_LIVES)
        self._threads: _Lives = BoundedMap(MOST_LIVES)

    def in_order(self, sources: Sequence[Source]) -> Iterator[Event]:
        """Yield the events of *sources* in order of time; once only."""
        events = self._told_once(sources)
        if len({source.provider for source in sources if source.has_threads}) > 1:
            return _with_one_sided(events, sources)
        return (event for event, _ in events)

    def _told_once(self, sources: Sequence[Source]) -> Iterator[tuple[Event, _Moment | None]]:
        """Yield the events, each start of a thread with what is told of it, also by events to come."""
        for _, source, event, digest in heapq.merge(*map(_tagged, sources), key=itemgetter(0)):
            time = event.time - source.ahead
            match event:
                case ProcessStart():
                    again = self._process_starts(event, _Telling(time, source.provider, digest, _facts(event)))
                    if again is not None:
                        yield again, None
                case ProcessStop(pid=pid):
                    life = _ended(self._processes, (pid, 0), _Telling(time, source.provider, digest))
                    if life is not None:
                        yield event, None
                        if life.is_end_doubtful:
                            yield Contradiction(event.time, TOLD_TWICE, pid), None
                case ThreadStart():
                    yield from self._thread_starts(event, _Telling(time, source.provider, digest, _facts(event)))
                case ThreadStop(pid=pid, tid=tid):
                    _ended(self._threads, (pid, tid), _Telling(time, source.provider, digest))
                case _:
                    yield event, None

    def _process_starts(self, event: ProcessStart, telling: _Telling) -> Event | None:
        """Return what the rule should take for *event*: itself, if it is not told before."""
        life = self._processes.get((event.pid, 0))
        start = _told(life, telling)
        if start is None:
            self._processes.put((event.pid, 0), _Life(_Moment(telling), life))
            return event
        if not start.tell(telling):
            return None
        # Another provider may tell more of the process, and a listing does not make it new again.
        values = event._asdict()
        del values["creator_pid"], values["creator_tid"]
        return ProcessRundown(**values)

    def _thread_starts(self, event: ThreadStart, telling: _Telling) -> Iterator[tuple[Event, _Moment | None]]:
        """Yield *event* if it is not told before, and ahead of it that this is not certain."""
        ids, process = (event.pid, event.tid), self._processes.get((event.pid, 0))
        life = self._threads.get(ids)
        alive = life is not None and life.owner is process and (process is None or process.end is None)
        start = _told(life, telling) if alive else None
        if start is None:
            # Events as data have no provider, and no ends of threads that could tell two apart.
            tells_ends = bool(telling.provider)
            if tells_ends and life is not None and life.owner is process and life.may_be_told_by(telling):
                yield Contradiction(event.time, TOLD_TWICE, event.pid), None
            moment = _Moment(telling)
            self._threads.put(ids, _Life(moment, life, process))
            yield event, moment
        elif start.tell(telling):
            self.two_providers += 1
        else:
            self.one_provider += 1


def _told(life: _Life | None, telling: _Telling) -> _Moment | None:
    """Return the start of *life* if *telling* is of it."""
    if life is None or life.start is None or life.end is not None:
        return None
    return life.start if life.start.is_of(telling) else None


def _ended(lives: _Lives, ids: tuple[int, int], telling: _Telling) -> _Life | None:
    """Take the end of a process or thread; return the life that it ends, None where it was told before."""
    life = lives.get(ids)
    if life is None:
        life = _Life(None, None)
        lives.put(ids, life)
    for each in (life.before, life):
        end = None if each is None else each.end_to_tell
        if each is None or end is None or not end.is_of(telling):
            continue
        if each is life or life.end is not None or each.is_end_again(telling):
            end.tell(telling)
            return None
    if life.end is None:
        before = life.before.end if life.before is not None else None
        life.is_end_doubtful = before is not None and (before.is_of(telling) or before.has_bytes_of(telling))
        life.end = _Moment(telling)
    return life


def _with_one_sided(events: Iterator[tuple[Event, _Moment | None]], sources: Sequence[Source]) -> Iterator[Event]:
    """Yield *events*, and ahead of a thread start that one provider lacks, though it was on, that this is so."""
    aheads = [source.ahead for source in sources]
    wait = APART + max(aheads) - min(aheads)
    held: deque[tuple[Event, _Moment | None]] = deque()
    for item in events:
        held.append(item)
        while held[0][0].time + wait < item[0].time:
            event, moment = held.popleft()
            if moment is not None and isinstance(event, ThreadStart) and _is_one_sided(moment, sources):
                yield Contradiction(event.time, ONE_PROVIDER, event.pid)
            yield event
        if len(held) > MOST_HELD:
            yield held.popleft()[0]
    # No source was on for another millisecond behind the rest.
    yield from (event for event, _ in held)


def _is_one_sided(moment: _Moment, sources: Sequence[Source]) -> bool:
    """Whether only one provider told *moment*, and another one told of moments before and behind it."""
    if len(moment.providers) > 1:
        return False
    return any(
        source.has_threads
        and source.provider not in moment.providers
        and source.first - source.ahead + APART < moment.time < source.last - source.ahead - APART
        for source in sources
    )


def _facts(event: ProcessStart | ThreadStart) -> _Facts:
    last = event.create_time if isinstance(event, ProcessStart) else event.start_address
    return event.creator_pid, event.creator_tid, last


def _tagged(source: Source) -> Iterator[tuple[tuple[int, int], Source, Event, int | None]]:
    for event, digest in source.events():
        yield order_of(event), source, event, digest
