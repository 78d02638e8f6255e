"""Blocks of rows: what is left out of them changes nothing, and what is packed comes out again."""

import random

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etwdetect.core.events import Loss, ProcessRundown, ProcessStart, ProcessStop, ThreadRundown, ThreadStart
from etwdetect.core.order import order_of
from etwdetect.fleet import blocks
from etwdetect.fleet.judge import FAULT, SortedJudge
from tests.fleet.histories import T0, history
from tests.fleet.test_judge import rows

NAMES = ("host", "recording", "time", "code", "seq", "first", "second", "pid", "tid", "text", "key")
TYPES = [pa.string(), pa.string(), pa.int64(), pa.int32(), *[pa.int64()] * 5, pa.string(), pa.int64()]
SCHEMA = pa.schema(list(zip(NAMES, TYPES, strict=True)))


def block(keyed):
    """Return (key, host, recording, row) as a block."""
    columns = [[*names, *row, key] for key, *names, row in keyed]
    return pa.RecordBatch.from_pylist([dict(zip(NAMES, row, strict=True)) for row in columns], SCHEMA)


def one_by_one(keyed):
    judge = SortedJudge()
    return [found for found in (judge.judge(*each) for each in keyed) if found]


def in_blocks(keyed, size):
    return list(blocks.judge_blocks(block(keyed[at : at + size]) for at in range(0, len(keyed), size)))


def few_ids(rng, count):
    """Return events of few processes, whose ids are used again and again, in order."""
    pids = (0, 4, 8, 12, 16, 0xFFFFFFFF)
    events = []
    for time in sorted(rng.randrange(T0, T0 + 1 + count // 3) for _ in range(count)):
        pid, creator = rng.choice(pids), rng.choice(pids)
        events.append(
            rng.choices(
                (
                    ThreadStart(time, pid, 1, pid, rng.randrange(9)),
                    ThreadStart(time, creator, 1, pid, rng.randrange(9)),
                    ProcessStart(time, creator, 1, pid),
                    ProcessStop(time, pid),
                    ThreadRundown(time, pid, 3),
                    ProcessRundown(time, pid, create_time=pid),
                    Loss(time, 1),
                ),
                (8, 6, 4, 2, 1, 1, 0.2),
            )[0]
        )
    return sorted(events, key=order_of)


@pytest.mark.slow
@settings(max_examples=200)
@given(st.integers(0, 1 << 32), st.integers(1, 60), st.booleans(), st.booleans())
def test_blocks_of_any_size_give_what_their_rows_give_one_by_one(seed, size, whole, shared):
    rng = random.Random(seed)
    keyed = []
    for key in range(4):
        each = []
        for name in (str(key), f"{key}b") if shared and key == 2 else (str(key),):
            start = T0 + rng.randrange(2)  # rows may come before it
            made = rows(few_ids(rng, rng.randrange(60)), start)
            each += [("H", name, row) for row in (made if whole else made[rng.randrange(2) :])]
        fault = (T0 + rng.randrange(9), FAULT, 7, None, None, None, None, '{"fault": "bad"}')
        each += [("H", str(key), fault)] * rng.randrange(2)
        each.sort(key=lambda row: row[2][:3])
        keyed += [(key, *row) for row in each]
    assert in_blocks(keyed, size) == one_by_one(keyed)


def test_threads_of_a_process_in_itself_and_short_lives_are_left_out(monkeypatch):
    judged = []
    judge = SortedJudge.judge
    monkeypatch.setattr(SortedJudge, "judge", lambda self, *each: judged.append(each) or judge(self, *each))
    keyed = [(1, "H", "1", row) for row in rows(history(3, 3000, own=0.85))]
    in_blocks(keyed, 1000)
    others = [row for *_, row in keyed if row[3] != row[5]]
    assert 0 < len(judged) < 1.1 * len(others)


def test_a_block_without_rows_is_none():
    assert in_blocks([], 5) == list(blocks.judge_blocks([block([])])) == []


@pytest.mark.parametrize("groups", [1, 7])
def test_what_is_packed_comes_out_again_by_group_and_in_order(groups):
    keyed = [(at % groups, f"H\u20ac{at % groups}", "1", row) for at, row in enumerate(rows(history(1, 200)))]
    made = list(blocks.packed(block(keyed), "key"))
    assert [group for group, _ in made] == list(range(groups))
    for group, content in made:
        assert list(blocks.unpacked(content)) == [tuple(each[1:]) for each in keyed if each[0] == group]


def test_nothing_is_packed_of_nothing():
    assert list(blocks.packed(block([]), "key")) == []
