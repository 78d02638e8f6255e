"""Finds the last access of a source to a target in the time before each thread, in whatever order they come.

Of the accesses that come before the thread in the file, some of each pair are kept; of the others it is known from
when to when they are. Those that come behind it are sorted, and merged with the threads in the end.
"""

from __future__ import annotations

from bisect import insort
from functools import lru_cache
from itertools import pairwise
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Final

from etwdetect.core import filetime
from etwdetect.core.bounded import BoundedMap
from etwdetect.core.order import Sorter
from etwdetect.core.sysmon import DeferredAccess, SysmonAccess

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from etwdetect.core.sysmon import SysmonProcess, SysmonThread

    Told = tuple[tuple[str, str], ...]
    Prior = tuple[int, Told] | None
    """When an access was, and what is told of it; None where it is not known which one it is."""

    _Access = SysmonAccess | DeferredAccess
    _Late = tuple[int, Hashable, Told]

ACCESS_WINDOW: Final = 10 * filetime.TICKS_PER_SECOND
"""How long before the thread an access of the same pair of processes can be to be told with it."""

NOT_KNOWN: Final = "more accesses are out of order than are kept, so the last one is not known"

_NEVER: Final = -1
_NONE: Final = _NEVER, ()
_MAX_PAIRS: Final = 50_000
_MAX_TEXT: Final = 64 << 20
"""How many characters of call traces are kept."""
_ACCESSES: Final = 16
"""How many accesses of one pair are kept."""
_SPANS: Final = 8
_LATE: Final = 10_000
"""How many accesses that come behind a thread are kept in memory."""


class PriorAccesses:
    """Takes accesses and threads in any order; when all were taken, `last` tells the access before each thread.

    OSError where accesses that do not fit in memory can't be written to a temporary file.
    """

    def __init__(self) -> None:
        self._pairs: BoundedMap[Hashable, _Pair] = BoundedMap(_MAX_PAIRS, _MAX_TEXT)
        self._given_up = _Spans()
        """The times of accesses in pairs that were given up."""
        self._newest_given_up = _NEVER
        """The time of the newest thread in them."""
        self._last_told: tuple[_Access | None, Prior] = (None, None)
        """The access that was told last, and how: many threads follow one access."""
        self._late: Sorter[_Late] = Sorter(itemgetter(0), _LATE)
        self._in_order: Iterator[_Late] | None = None
        self._next: _Late | None = None
        self._passed: BoundedMap[Hashable, _Late] = BoundedMap(_MAX_PAIRS, _MAX_TEXT)
        """The latest of each pair, of those that are not later than the thread."""
        self._passed_given_up = _NEVER

    def access(self, access: _Access) -> None:
        """Take the next access."""
        if isinstance(access, DeferredAccess):
            key: Hashable = access.pair
        else:
            key = _key(access.host, access.source, access.target)
        pair = self._pairs.get(key) or _Pair()
        if access.time <= max(pair.newest_thread, self._newest_given_up):
            loaded = _loaded(access)
            if loaded is None:
                return
            access = loaded
            self._late.add((access.time, key, _told(access)))
        pair.add(access)
        self._put(key, pair)

    def thread(self, thread: SysmonThread) -> Prior:
        """Take the next thread; return the last access before it of those that were taken until now."""
        key = _key(thread.host, thread.source, thread.target)
        pair = self._pairs.get(key)
        if pair is None:
            pair = _Pair()
            self._put(key, pair)
        pair.newest_thread = max(pair.newest_thread, thread.time)
        found = pair.last_until(thread.time) if pair.kept else None
        since = thread.time - ACCESS_WINDOW - 1 if found is None else found.time
        if pair.given_up.meet(since, thread.time) or self._given_up.meet(since, thread.time):
            return None
        if found is None:
            return _NONE
        if self._last_told[0] is not found:
            self._last_told = found, (found.time, _told(found))
        return self._last_told[1]

    def last(
        self, time: int, host: str | None, source: SysmonProcess, target: SysmonProcess, prior: Prior
    ) -> Told | None:
        """Return what is told of the last access before a thread, for which `thread` returned *prior*.

        To be called in the order of time, when all was taken. None where it is not known which one it is.
        """
        if not self._late:
            return None if prior is None else prior[1]
        if self._in_order is None:
            self._in_order = iter(self._late)
            self._next = next(self._in_order, None)
        while self._next is not None and self._next[0] <= time:
            size = sum(len(text) for _, text in self._next[2])
            for _, gone in self._passed.put(self._next[1], self._next, size):
                self._passed_given_up = gone[0]
            self._next = next(self._in_order, None)
        if prior is None:
            return None
        since = max(prior[0], time - ACCESS_WINDOW - 1)
        late = self._passed.get(_key(host, source, target))
        if late is None:
            return None if self._passed_given_up > since else prior[1]
        return late[2] if late[0] > since else prior[1]

    def _put(self, key: Hashable, pair: _Pair) -> None:
        for _, gone in self._pairs.put(key, pair, pair.weight):
            self._newest_given_up = max(self._newest_given_up, gone.newest_thread)
            for first, last in gone.spans():
                self._given_up.add(first, last)


class _Pair:
    """What is known of one pair of processes: accesses in the order of time, and when others were."""

    __slots__ = ("given_up", "kept", "newest_thread", "weight")

    def __init__(self) -> None:
        self.kept: list[_Access] = []
        self.given_up = _Spans()
        self.newest_thread = _NEVER
        self.weight = 0

    def add(self, access: _Access) -> None:
        """Keep *access*; one too many is given up, at the end from which the records move away."""
        kept = self.kept
        insort(kept, access, key=attrgetter("time"))
        self.weight += _weight(access)
        if len(kept) > _ACCESSES:
            forwards = access.time >= kept[_ACCESSES // 2].time
            gone = kept.pop(0 if forwards else -1)
            self.weight -= _weight(gone)
            self.given_up.add(gone.time, gone.time)

    def last_until(self, time: int) -> SysmonAccess | None:
        """Return the last access that is kept, is not later than *time* and not too long before it."""
        for number in reversed(range(len(self.kept))):
            access = self.kept[number]
            if access.time > time:
                continue
            if access.time < time - ACCESS_WINDOW:
                break
            if isinstance(access, SysmonAccess):
                return access
            loaded = access.load()
            self.kept[number : number + 1] = [] if loaded is None else [loaded]
            self.weight += (_weight(loaded) if loaded else 0) - access.size
            if loaded:
                return loaded
        return None

    def spans(self) -> Iterator[tuple[int, int]]:
        """Yield from when to when there were accesses."""
        if self.kept:
            yield self.kept[0].time, self.kept[-1].time
        yield from self.given_up


class _Spans:
    """Some spans of time, the first and the last moment of each: too many become longer ones."""

    __slots__ = ("_spans",)

    def __init__(self) -> None:
        self._spans: list[tuple[int, int]] = []

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(self._spans)

    def add(self, first: int, last: int) -> None:
        spans = self._spans
        for number, (begin, end) in enumerate(spans):
            if begin - ACCESS_WINDOW <= last and first <= end + ACCESS_WINDOW:
                spans[number] = min(first, begin), max(last, end)
                return
        spans.append((first, last))
        if len(spans) > _SPANS:
            spans.sort()
            gaps = [after[0] - before[1] for before, after in pairwise(spans)]
            at = gaps.index(min(gaps))
            spans[at : at + 2] = [(spans[at][0], max(spans[at][1], spans[at + 1][1]))]

    def meet(self, since: int, until: int) -> bool:
        """Return whether a moment of them is later than *since* and not later than *until*."""
        for first, last in self._spans:  # noqa: SIM110 (any() takes twice the time, for each thread)
            if first <= until and last > since:
                return True
        return False


def _key(host: str | None, source: SysmonProcess, target: SysmonProcess) -> Hashable:
    """Return what is the same in all events of two processes."""
    return host, source.guid or source.pid, target.guid or target.pid


def _loaded(access: _Access) -> SysmonAccess | None:
    return access.load() if isinstance(access, DeferredAccess) else access


def _weight(access: _Access) -> int:
    return access.size if isinstance(access, DeferredAccess) else len(access.call_trace or "")


@lru_cache(maxsize=256)  # equal ones share what is kept of them
def _told(access: SysmonAccess) -> Told:
    """Return what is told of *access*. Its thread is left out: it need not be the creator."""
    told = {
        "UtcTime": filetime.full_time(filetime.utc(access.time)),
        "GrantedAccess": access.granted,
        "CallTrace": access.call_trace,
    }
    return tuple((name, text) for name, text in told.items() if text is not None)
