"""Compares the records of both detectors.

Two records match if their creator pid, creator tid, pid and tid are equal.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict, deque
from dataclasses import dataclass, replace
from enum import Enum
from statistics import median
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from etwdetect.core.rule import RemoteThread
    from etwdetect.enrich.detection import Detector

    RecordIds = tuple[int, int | None, int, int]


LIVE_MARGIN: Final = 100_000
"""10 ms in 100 ns units: live detectors may report records this close in either order."""


class Equality(Enum):
    """The conditions under which both sides are equal.

    EXACT: the same sequence, with times equal to 100 ns. LIVE: the same multiset, with records more than 10 ms
    apart in the same order; times are not compared, because they come from two clocks.
    """

    EXACT = "exact"
    LIVE = "live"


class RecordPair(NamedTuple):
    """A record that both sides reported."""

    etw: RemoteThread
    driver: RemoteThread

    @property
    def time_difference(self) -> int:
        """The driver's time minus ETW's, in 100 ns units."""
        return self.driver.time - self.etw.time


@dataclass(frozen=True)
class Comparison:
    """The matched records of both sides, and the differences.

    *out_of_order* are the pairs in another place of the other side's sequence: the fewest whose removal leaves
    both sides in the same order or, with LIVE, those before a record that is more than 10 ms older. *explained*
    are records that only one side can have, which are not differences.
    """

    equality: Equality
    matched: tuple[RecordPair, ...]
    only_etw: tuple[RemoteThread, ...]
    only_driver: tuple[RemoteThread, ...]
    out_of_order: tuple[RecordPair, ...]
    explained: tuple[RemoteThread, ...] = ()

    @property
    def other_times(self) -> tuple[RecordPair, ...]:
        """The pairs whose times differ, with Equality.EXACT."""
        if self.equality is Equality.LIVE:
            return ()
        return tuple(pair for pair in self.matched if pair.time_difference)

    @property
    def equal(self) -> bool:
        """Whether both sides are equal under the conditions of *equality*."""
        return not (self.only_etw or self.only_driver or self.out_of_order or self.other_times)

    @property
    def median_time_difference(self) -> float:
        """The median absolute time difference, in 100 ns units; 0 if nothing matched."""
        return median([abs(pair.time_difference) for pair in self.matched] or [0])

    @property
    def largest_time_difference(self) -> int:
        """The largest absolute time difference, in 100 ns units; 0 if nothing matched."""
        return max((abs(pair.time_difference) for pair in self.matched), default=0)


def explain(comparison: Comparison, is_expected: Callable[[RemoteThread, Detector], bool]) -> Comparison:
    """Return *comparison* with the one-sided records for which *is_expected* holds moved to `explained`."""
    left: dict[Detector, tuple[RemoteThread, ...]] = {}
    explained: list[RemoteThread] = []
    sides: tuple[tuple[Detector, tuple[RemoteThread, ...]], ...] = (
        ("etw", comparison.only_etw),
        ("driver", comparison.only_driver),
    )
    for side, records in sides:
        expected = [is_expected(record, side) for record in records]
        left[side] = tuple(record for record, known in zip(records, expected, strict=True) if not known)
        explained += [record for record, known in zip(records, expected, strict=True) if known]
    return replace(comparison, only_etw=left["etw"], only_driver=left["driver"], explained=tuple(explained))


def key(record: RemoteThread) -> RecordIds:
    """Return the ids by which records of both sides match."""
    return record.creator_pid, record.creator_tid, record.pid, record.tid


def describe(record: RemoteThread) -> str:
    """Return the ids of *record* as the reports show them, with ``?`` for a source thread that is not told."""
    creator_tid = "?" if record.creator_tid is None else record.creator_tid
    return f"{record.creator_pid}:{creator_tid} -> {record.pid}:{record.tid}"


def compare(
    etw: Sequence[RemoteThread], driver: Sequence[RemoteThread], equality: Equality = Equality.EXACT
) -> Comparison:
    """Compare the records of both sides, each in the order of its detector."""
    places = _places(etw, driver)
    pairs = [
        (place, RecordPair(record, driver[place])) for record, place in zip(etw, places, strict=True) if place >= 0
    ]
    taken = {place for place, _ in pairs}
    out_of_order = _elsewhere(pairs) if equality is Equality.EXACT else _overtaken(pairs)
    return Comparison(
        equality,
        tuple(pair for _, pair in pairs),
        tuple(record for record, place in zip(etw, places, strict=True) if place < 0),
        tuple(record for place, record in enumerate(driver) if place not in taken),
        tuple(out_of_order),
    )


def _places(etw: Sequence[RemoteThread], driver: Sequence[RemoteThread]) -> list[int]:
    """Return for each of ETW's records the index of its counterpart among the driver's, or -1.

    Windows reuses ids, so several records can have the same. Records with equal times are paired first, then those
    nearest in time.
    """
    same: defaultdict[tuple[RecordIds, int], deque[int]] = defaultdict(deque)
    for place, record in enumerate(driver):
        same[key(record), record.time].append(place)
    places = [-1] * len(etw)
    lone: defaultdict[RecordIds, list[int]] = defaultdict(list)
    for number, record in enumerate(etw):
        candidates = same[key(record), record.time]
        if candidates:
            places[number] = candidates.popleft()
        else:
            lone[key(record)].append(number)
    left: defaultdict[RecordIds, list[int]] = defaultdict(list)
    for (ids, _), candidates in same.items():
        if ids in lone:
            left[ids] += candidates
    for ids, numbers in lone.items():
        numbers.sort(key=lambda number: etw[number].time)
        left[ids].sort(key=lambda place: driver[place].time)
        theirs = [driver[place].time for place in left[ids]]
        for mine, other in _nearest([etw[number].time for number in numbers], theirs):
            places[numbers[mine]] = left[ids][other]
    return places


def _nearest(mine: Sequence[int], others: Sequence[int]) -> list[tuple[int, int]]:
    """Pair the ascending times *mine* with *others*, in order: as many as possible, each with its nearest."""
    if len(mine) > len(others):
        return [(position, other) for other, position in _nearest(others, mine)]
    pairs = []
    start = 0
    for position, time in enumerate(mine):
        last = len(others) - (len(mine) - position)  # leave one for each that follows
        other = bisect_left(others, time, start, last)
        if other > start and time - others[other - 1] <= abs(others[other] - time):
            other -= 1
        pairs.append((position, other))
        start = other + 1
    return pairs


def _elsewhere(pairs: Sequence[tuple[int, RecordPair]]) -> list[RecordPair]:
    """Return the pairs, in ETW's order, that are not in a longest increasing sequence of driver indexes."""
    ends: list[int] = []
    """By length minus one: the smallest index that ends an increasing sequence of that length."""
    lengths = []
    for position, _ in pairs:
        length = bisect_left(ends, position)
        ends[length : length + 1] = [position]
        lengths.append(length)
    out, wanted = [], len(ends) - 1
    for (_, pair), length in zip(reversed(pairs), reversed(lengths), strict=True):
        if length == wanted:
            wanted -= 1
        else:
            out.append(pair)
    return out[::-1]


def _overtaken(pairs: Sequence[tuple[int, RecordPair]]) -> list[RecordPair]:
    """Return the pairs that precede, on either side, a record that is more than 10 ms older."""
    by_time = sorted(
        ((pair.etw.time, (number, place), pair) for number, (place, pair) in enumerate(pairs)),
        key=lambda each: each[0],
    )
    out = []
    furthest, old = (-1, -1), 0
    for time, places, pair in by_time:
        while by_time[old][0] < time - LIVE_MARGIN:
            older = by_time[old][1]
            furthest = max(furthest[0], older[0]), max(furthest[1], older[1])
            old += 1
        if places[0] < furthest[0] or places[1] < furthest[1]:
            out.append(pair)
    return out


def between(records: Sequence[RemoteThread], opening: RecordIds, closing: RecordIds) -> list[RemoteThread]:
    """Return the records between two markers, given by their ids. Raises ValueError if one is missing."""
    ids = [key(record) for record in records]
    start = ids.index(opening) + 1
    return list(records[start : ids.index(closing, start)])
