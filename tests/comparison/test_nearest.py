"""Records of two witnesses with the same ids are paired as a matcher that tries everything would pair them."""

import os
import random
from functools import lru_cache
from itertools import pairwise

import pytest

from etwdetect.comparison import nearest
from etwdetect.comparison.nearest import PAIRING_WINDOW, nearest_pairs
from etwdetect.core.rule import RemoteThread

SECOND = 10_000_000
TRIPLES = int(os.environ.get("ETWDETECT_TRIPLES", "1500"))
"""How many random triples of outputs are paired; 200,000 take some minutes."""


def three_ids(record):
    return record.creator_pid, record.pid, record.tid


def best(mine, others):
    """Return the most pairs that there can be and the least sum of differences, by trying every way."""

    @lru_cache(None)
    def tried(number, used):
        if number == len(mine):
            return 0, 0
        results = [tried(number + 1, used)]
        for place, other in enumerate(others):
            apart = abs(mine[number].time - other.time)
            same = three_ids(mine[number]) == three_ids(other)
            if same and apart <= PAIRING_WINDOW and not used >> place & 1:
                pairs, cost = tried(number + 1, used | 1 << place)
                results.append((pairs - 1, cost + apart))
        return min(results)

    pairs, cost = tried(0, 0)
    return -pairs, cost


def cost(mine, others, pairs):
    return len(pairs), sum(abs(mine[one].time - others[other].time) for one, other in pairs)


def witnessed(chance, truth):
    """What a witness makes of *truth*: drops, doubles and shifts, in any order, with times in steps of a tick."""
    tick = chance.choice((1, 156_250))
    shift = chance.choice((0, 0, chance.randint(-SECOND, SECOND), 3 * SECOND))
    seen = []
    for record in truth:
        for _ in range(chance.choice((0, 1, 1, 1, 1, 2))):
            time = record.time + shift + chance.choice((0, chance.randint(-SECOND // 5, SECOND // 5)))
            seen.append(record._replace(time=time // tick * tick))
    chance.shuffle(seen)
    return seen


def triple(chance):
    """Three outputs of one truth, in which a few thread ids are used again and again."""
    ids = [(100, 200, chance.randint(1, 2)) for _ in range(chance.randint(1, 3))]
    truth = []
    for _ in range(chance.randint(0, 6)):
        source, target, tid = chance.choice(ids)
        truth.append(RemoteThread(100 * SECOND + chance.randint(0, 8 * SECOND), source, 1, target, tid))
    return [witnessed(chance, truth) for _ in range(3)]


def test_random_triples_are_paired_as_by_trying_every_way():
    chance = random.Random(20)
    for _ in range(TRIPLES):
        etw, driver, sysmon = triple(chance)
        for mine, others in ((etw, driver), (etw, sysmon), (driver, sysmon)):
            pairs = nearest_pairs(mine, others, three_ids)
            assert cost(mine, others, pairs) == best(tuple(mine), tuple(others))
            assert len({one for one, _ in pairs}) == len({other for _, other in pairs}) == len(pairs)
            assert all(three_ids(mine[one]) == three_ids(others[other]) for one, other in pairs)


@pytest.mark.parametrize(("apart", "paired"), [(PAIRING_WINDOW, 1), (PAIRING_WINDOW + 1, 0)])
def test_records_two_seconds_apart_are_paired_and_no_others(apart, paired):
    one = RemoteThread(100 * SECOND, 1, 2, 3, 4)
    for mine, other in ((one, one._replace(time=one.time + apart)), (one._replace(time=one.time + apart), one)):
        assert len(nearest_pairs([mine], [other], three_ids)) == paired


def test_a_chain_of_records_is_paired_with_as_many_as_there_are_rather_than_with_the_nearest():
    mine = [RemoteThread(each * SECOND, 1, 2, 3, 4) for each in (10, 12)]
    others = [RemoteThread(each * SECOND, 1, 2, 3, 4) for each in (12, 14)]
    assert nearest_pairs(mine, others, three_ids) == [(0, 0), (1, 1)]


def test_very_many_records_of_one_thread_id_are_paired_without_comparing_all(monkeypatch):
    monkeypatch.setattr(nearest, "_MOST_COMPARED", 100)
    chance = random.Random(3)
    for _ in range(50):
        mine, others = (
            sorted(RemoteThread(chance.randint(0, 20 * SECOND), 1, 2, 3, 4) for _ in range(40)) for _ in range(2)
        )
        monkeypatch.setattr(nearest, "_MOST_COMPARED", 1 << 30)
        most = len(nearest_pairs(mine, others, three_ids))
        monkeypatch.setattr(nearest, "_MOST_COMPARED", 100)
        pairs = nearest_pairs(mine, others, three_ids)
        assert len(pairs) == most
        assert all(one < two and three < four for (one, three), (two, four) in pairwise(pairs))
