"""Pairs the records of two witnesses that share their ids: as many as possible, and those nearest in time."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from etwdetect.core.filetime import TICKS_PER_SECOND

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Sequence

    from etwdetect.core.rule import RemoteThread

PAIRING_WINDOW: Final = 2 * TICKS_PER_SECOND
"""How far apart two records of one creation can be: Sysmon's times move in steps, and clocks are corrected."""

_MOST_COMPARED: Final = 4_000_000
"""How many combinations of one cluster of records are compared; of more, each takes the next that is free."""


def nearest_pairs(
    mine: Sequence[RemoteThread], others: Sequence[RemoteThread], key: Callable[[RemoteThread], Hashable]
) -> list[tuple[int, int]]:
    """Return pairs of indexes of *mine* and *others* with the same *key*, at most PAIRING_WINDOW apart.

    Of all ways to pair the most records, it is one with the least sum of time differences.
    """
    by_key: defaultdict[Hashable, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for side, records in enumerate((mine, others)):
        for place, record in enumerate(records):
            by_key[key(record)][side].append(place)
    pairs = []
    for left, right in by_key.values():
        if left and right:
            left.sort(key=lambda place: mine[place].time)
            right.sort(key=lambda place: others[place].time)
            times = [mine[place].time for place in left], [others[place].time for place in right]
            pairs += [(left[one], right[other]) for one, other in _in_order(*times)]
    return sorted(pairs)


def _in_order(mine: Sequence[int], others: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield the pairs of two ascending sequences of times, cluster by cluster."""
    one = other = 0
    while one < len(mine) and other < len(others):
        first = one, other
        until = min(mine[one], others[other])
        while True:  # what follows within the window belongs to the cluster
            if one < len(mine) and mine[one] - until <= PAIRING_WINDOW:
                until = max(until, mine[one])
                one += 1
            elif other < len(others) and others[other] - until <= PAIRING_WINDOW:
                until = max(until, others[other])
                other += 1
            else:
                break
        cluster = mine[first[0] : one], others[first[1] : other]
        pair = _cheapest if len(cluster[0]) * len(cluster[1]) <= _MOST_COMPARED else _first_free
        for left, right in pair(*cluster):
            yield first[0] + left, first[1] + right


def _cheapest(mine: Sequence[int], others: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield the best pairs: in order of time no two of them need to cross, so each step pairs or passes over."""
    width = len(others) + 1
    costs: list[tuple[int, int]] = [(0, 0)] * width
    """By how many of *others* are used: minus the number of pairs, and the sum of their differences."""
    steps = bytearray(width * (len(mine) + 1))
    for row, time in enumerate(mine, 1):
        best = [(0, 0)] * width
        for column, other in enumerate(others, 1):
            choice, step = min((costs[column], 1), (best[column - 1], 2))
            difference = abs(time - other)
            if difference <= PAIRING_WINDOW:
                pairs, cost = costs[column - 1]
                choice, step = min((choice, step), ((pairs - 1, cost + difference), 0))
            best[column] = choice
            steps[row * width + column] = step
        costs = best
    found = []
    row, column = len(mine), len(others)
    while row and column:
        step = steps[row * width + column]
        if step == 0:
            found.append((row - 1, column - 1))
        row -= step != 2
        column -= step != 1
    yield from reversed(found)


def _first_free(mine: Sequence[int], others: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield the most pairs that there can be, in order of time; not with the least difference."""
    one = other = 0
    while one < len(mine) and other < len(others):
        difference = mine[one] - others[other]
        if abs(difference) <= PAIRING_WINDOW:
            yield one, other
        one += difference <= PAIRING_WINDOW
        other += difference >= -PAIRING_WINDOW
