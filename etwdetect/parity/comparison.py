"""Compares what both detectors said, record by record.

Two records are the same when creator pid and tid, pid and tid are. As ids are used again, the first record with
some ids on one side belongs to the first with the same ids on the other side, the second to the second.
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

    from etwdetect.enrich.detection import Detector
    from etwdetect.rule import RemoteThread


LIVE_MARGIN: Final = 100_000
"""10 ms in 100 ns units: of records this close, real detectors may see either first."""


class Equality(Enum):
    """When both sides are equal.

    EXACT: the same sequence, times equal to 100 ns. LIVE: the same multiset, and records more than 10 ms apart in
    the same order; the clocks are two, so that times are shown and not judged.
    """

    EXACT = "exact"
    LIVE = "live"


class Pair(NamedTuple):
    """A record that both sides have."""

    etw: RemoteThread
    driver: RemoteThread

    @property
    def time_difference(self) -> int:
        """The driver's time less ETW's, in 100 ns units."""
        return self.driver.time - self.etw.time


@dataclass(frozen=True)
class Comparison:
    """What both sides have in common, and what not.

    *out_of_order* are pairs that stand elsewhere in the other side's sequence: the fewest whose removal leaves
    both sides in the same order, or, with LIVE, those that a record from more than 10 ms later went before.
    *explained* are records of one side that the other can't have, and that are no difference.
    """

    equality: Equality
    matched: tuple[Pair, ...]
    only_etw: tuple[RemoteThread, ...]
    only_driver: tuple[RemoteThread, ...]
    out_of_order: tuple[Pair, ...]
    explained: tuple[RemoteThread, ...] = ()

    @property
    def other_times(self) -> tuple[Pair, ...]:
        """The pairs whose times differ although they must not."""
        if self.equality is Equality.LIVE:
            return ()
        return tuple(pair for pair in self.matched if pair.time_difference)

    @property
    def equal(self) -> bool:
        """Whether both sides are equal in the sense of *equality*."""
        return not (self.only_etw or self.only_driver or self.out_of_order or self.other_times)

    @property
    def median_time_difference(self) -> float:
        """The median of how far the times are apart, in 100 ns units; 0 where nothing matched."""
        return median([abs(pair.time_difference) for pair in self.matched] or [0])

    @property
    def largest_time_difference(self) -> int:
        """How far the times are apart at the most, in 100 ns units."""
        return max((abs(pair.time_difference) for pair in self.matched), default=0)


def explain(comparison: Comparison, is_expected: Callable[[RemoteThread, Detector], bool]) -> Comparison:
    """Return *comparison* with those records as explained of which it is expected that one side alone has them."""
    left: dict[Detector, tuple[RemoteThread, ...]] = {}
    explained: list[RemoteThread] = []
    sides: tuple[tuple[Detector, tuple[RemoteThread, ...]], ...] = (
        ("etw", comparison.only_etw),
        ("driver", comparison.only_driver),
    )
    for side, records in sides:
        verdicts = [is_expected(record, side) for record in records]
        left[side] = tuple(record for record, known in zip(records, verdicts, strict=True) if not known)
        explained += [record for record, known in zip(records, verdicts, strict=True) if known]
    return replace(comparison, only_etw=left["etw"], only_driver=left["driver"], explained=tuple(explained))


def key(record: RemoteThread) -> tuple[int, int, int, int]:
    """Return what makes a record the same on both sides."""
    return record.creator_pid, record.creator_tid, record.pid, record.tid


def compare(
    etw: Sequence[RemoteThread], driver: Sequence[RemoteThread], equality: Equality = Equality.EXACT
) -> Comparison:
    """Compare the records of both sides, each in the order in which its detector gave them."""
    waiting: defaultdict[tuple[int, int, int, int], deque[int]] = defaultdict(deque)
    for position, record in enumerate(driver):
        waiting[key(record)].append(position)
    only_etw = []
    pairs: list[tuple[int, Pair]] = []
    for record in etw:
        positions = waiting[key(record)]
        if positions:
            position = positions.popleft()
            pairs.append((position, Pair(record, driver[position])))
        else:
            only_etw.append(record)
    left = sorted(position for positions in waiting.values() for position in positions)
    out_of_order = _elsewhere(pairs) if equality is Equality.EXACT else _overtaken(pairs)
    return Comparison(
        equality,
        tuple(pair for _, pair in pairs),
        tuple(only_etw),
        tuple(driver[position] for position in left),
        tuple(out_of_order),
    )


def _elsewhere(pairs: Sequence[tuple[int, Pair]]) -> list[Pair]:
    """Return the pairs, in ETW's order, that are not in a longest increasing sequence of driver positions."""
    ends: list[int] = []
    """By length less one: the smallest position that an increasing sequence of that length ends with."""
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


def _overtaken(pairs: Sequence[tuple[int, Pair]]) -> list[Pair]:
    """Return the pairs that the driver has before one whose record in ETW is more than 10 ms older."""
    by_time = sorted(pairs, key=lambda each: each[1].etw.time)
    out = []
    furthest, old = -1, 0
    for position, pair in by_time:
        while by_time[old][1].etw.time < pair.etw.time - LIVE_MARGIN:
            furthest = max(furthest, by_time[old][0])
            old += 1
        if position < furthest:
            out.append(pair)
    return out


def between(records: Sequence[RemoteThread], opening: int, closing: int) -> list[RemoteThread]:
    """Return the records between two markers, by the markers' thread ids; ValueError where one is missing."""
    tids = [record.tid for record in records]
    start = tids.index(opening) + 1
    return list(records[start : tids.index(closing, start)])
