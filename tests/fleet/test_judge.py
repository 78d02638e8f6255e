"""The rule over rows, and over rows that come late and out of order, without Spark."""

import itertools
import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etwdetect.core.events import Contradiction, Loss, ProcessStart, ThreadStart
from etwdetect.core.order import order_of
from etwdetect.fleet.fault import Fault
from etwdetect.fleet.judge import CODES, FAULT, RecordingJudge, SortedJudge
from etwdetect.fleet.reorder import FORGET_AFTER, Bucket
from etwdetect.sources.eventdata.schema import KINDS, RecordingStart
from tests.fleet.histories import SECOND, T0, history, single_process

LATENESS = 60_000
TICKS = 10_000


def rows(events, start_time=T0):
    """Return the rows of a recording, as Spark makes them."""
    result = []
    for seq, event in enumerate((RecordingStart(start_time, start_time), *events)):
        code, first, second = CODES[type(event).__name__]
        values = event._asdict()
        address = values.get("start_address")
        text = None if address is None else f"0x{address:X}"
        result.append(
            (
                event.time,
                code,
                seq,
                values.get(first),
                values.get(second),
                values.get("pid"),
                values.get("tid"),
                text,
            )
        )
    return result


def judged(sorted_rows):
    judge = RecordingJudge("H", "1")
    return [hit.thread for hit in map(judge.judge, sorted_rows) if hit]


def in_batches(batches, lateness=LATENESS, *, restart=lambda _: False, keys=("H", "1")):
    """Return (threads, faults) of a bucket that gets *batches*, is restarted, and is flushed at the end."""
    bucket, found, now = Bucket(lateness), [], 0
    for number, batch in enumerate(batches):
        if restart(number):
            bucket = Bucket(lateness, bucket.to_json())
        found += bucket.take([(*keys, row) for row in batch], now)
        now += 1
    found += Bucket(lateness, bucket.to_json()).flush(now + lateness)
    hits = [each.thread for each in found if not isinstance(each, Fault)]
    return hits, [each.fault for each in found if isinstance(each, Fault)]


@pytest.mark.parametrize("seed", range(5))
def test_rows_are_judged_as_their_events_are_in_one_process(seed):
    events = history(seed, 2000)
    expected = single_process(events)
    assert len(expected) > 20
    assert judged(rows(events)) == expected


def test_codes_order_rows_as_events_are_ordered():
    events = [
        kind(*(T0 for field in kind._fields if field not in kind._field_defaults))
        for kind in KINDS.values()
        if kind.__name__ in CODES and kind is not RecordingStart
    ]
    for one, other in itertools.permutations(events, 2):
        codes = [CODES[type(each).__name__][0] for each in (one, other)]
        assert codes[0] < codes[1] or order_of(one) >= order_of(other)


def test_a_row_that_comes_twice_counts_once():
    events = [Loss(T0 + 1, 3), ThreadStart(T0 + 60 * SECOND, 10, 1, 20, 2)]
    doubled = [row for row in rows(events) for _ in range(2)]
    (hit,) = judged(doubled)
    assert hit.evidence == ("events-lost:3",)


def test_a_recording_without_its_beginning_marks_its_hits():
    (hit,) = judged(rows([ThreadStart(T0, 10, 1, 20, 2)])[1:])
    assert hit.evidence == ("events-lost:1",)


def test_a_hit_at_no_address_is_a_fault():
    start, thread = rows([ThreadStart(T0 + 60 * SECOND, 10, 1, 20, 2, 0x7FF0)])
    judge = RecordingJudge("H", "1")
    assert judge.judge(start) is None
    fault = judge.judge((*thread[:-1], "0x1_0"))
    assert "not an address" in fault.fault
    assert fault[1:] == ("H", "1", 1, None, None)


def test_each_recording_is_judged_alone_and_faults_go_through():
    start = rows([ProcessStart(T0 + 60 * SECOND, 1, 2, 20)])
    remote = rows([ThreadStart(T0 + 61 * SECOND, 10, 1, 20, 2)])
    fault = (0, FAULT, None, None, None, None, None, '{"fault": "bad", "file": "f", "offset": 7}')
    keyed = [(1, "A", "1", row) for row in start]
    keyed += [(1, "A", "2", row) for row in remote]  # two recordings that share a key
    keyed += [(2, "B", "2", fault), *((2, "B", "2", row) for row in remote)]
    judge = SortedJudge()
    found = [each for each in (judge.judge(*row) for row in keyed) if each]
    assert [(each.host, each.recording) for each in found] == [("A", "2"), ("B", "2"), ("B", "2")]
    assert found[1] == Fault("bad", "B", "2", file="f", offset=7)


# -- rows that wait to be judged in order


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.randoms(use_true_random=False), st.integers(1, 30))
def test_batches_cut_anywhere_with_restarts_between_give_the_records_of_one_pass(seed, rng, parts):
    events = history(seed, 300)
    all_rows = rows(events)
    cuts = sorted(rng.randrange(len(all_rows) + 1) for _ in range(parts - 1))
    batches = [all_rows[begin:end] for begin, end in itertools.pairwise((0, *cuts, len(all_rows)))]
    for batch in batches:
        rng.shuffle(batch)
    hits, faults = in_batches(batches, restart=lambda _: rng.random() < 0.5)
    assert (hits, faults) == (single_process(events), [])


@settings(max_examples=25)
@given(st.integers(0, 10_000))
def test_rows_that_come_late_within_the_lateness_change_nothing(seed):
    rng = random.Random(seed)
    events = history(seed, 400)
    arrivals = [
        (row[0] + (rng.randrange(LATENESS * TICKS) if rng.random() < 0.05 else 0), row) for row in rows(events)
    ]
    arrivals.sort(key=lambda each: each[0])
    batches = [[row for _, row in arrivals[at : at + 37]] for at in range(0, len(arrivals), 37)]
    hits, faults = in_batches(batches)
    assert (hits, faults) == (single_process(events), [])


def test_a_row_that_comes_later_is_put_aside_and_told():
    late = ThreadStart(T0 + 5 * SECOND, 10, 1, 20, 2, 0x7FF0)
    newest = ThreadStart(T0 + 66 * SECOND, 30, 1, 30, 2)
    all_rows = rows([late, newest])
    hits, (fault,) = in_batches([[all_rows[0], all_rows[2]], [all_rows[1]]])
    assert hits == []
    assert fault.startswith("came 1.000 seconds later than rows of its recording may: ")
    assert json.loads(fault.partition(": ")[2]) == {
        "kind": "ThreadStart",
        "time": late.time,
        "creator_pid": 10,
        "creator_tid": 1,
        "pid": 20,
        "tid": 2,
        "start_address": "0x7FF0",
    }


def test_a_row_on_the_very_edge_of_the_lateness_is_in_time():
    edge = ThreadStart(T0 + 5 * SECOND, 10, 1, 20, 2)
    all_rows = rows([edge, ThreadStart(T0 + 65 * SECOND, 30, 1, 30, 2)])
    hits, faults = in_batches([[all_rows[0], all_rows[2]], [all_rows[1]]])
    assert ([hit.tid for hit in hits], faults) == ([2], [])


def test_a_host_whose_clock_is_ahead_makes_no_other_host_late():
    ahead = rows([ThreadStart(T0 + 10**6 * SECOND, 30, 1, 30, 2)])
    ours = rows([ThreadStart(T0 + 5 * SECOND, 10, 1, 20, 2)])
    bucket = Bucket(LATENESS)
    found = list(bucket.take([("AHEAD", "1", row) for row in ahead], 0))
    found += bucket.take([("OURS", "1", row) for row in ours], 1)
    found += bucket.flush(1 + LATENESS)
    assert [(each.host, each.thread.tid) for each in found] == [("OURS", 2)]


def test_a_silent_recording_is_judged_to_its_end_after_the_lateness():
    bucket = Bucket(LATENESS)
    keyed = [("H", "1", row) for row in rows([ThreadStart(T0 + 5 * SECOND, 10, 1, 20, 2)])]
    assert list(bucket.take(keyed, 1000)) == []
    assert bucket.next_flush() == 1000 + LATENESS
    assert list(bucket.flush(999 + LATENESS)) == []
    assert len(list(bucket.flush(1000 + LATENESS))) == 1
    assert bucket.next_flush() is None


def test_a_recording_that_was_silent_for_a_month_is_forgotten():
    bucket = Bucket(LATENESS)
    list(bucket.take([("H", "1", row) for row in rows([])], 0))
    list(bucket.flush(FORGET_AFTER))
    assert '"H"' in bucket.to_json()
    list(bucket.flush(FORGET_AFTER + 1))
    assert '"H"' not in bucket.to_json()


def test_the_state_of_a_quiet_host_is_small():
    bucket = Bucket(LATENESS)
    list(bucket.take([("HOST-12345", "1", row) for row in rows(history(1, 5000))], 0))
    list(bucket.flush(LATENESS))
    assert len(bucket.to_json()) < 400


def test_a_state_of_another_version_is_refused_with_the_remedy():
    state = json.loads(Bucket(LATENESS).to_json())
    state[0] = 99
    with pytest.raises(ValueError, match=r"version 99, .* or begin a new checkpoint"):
        Bucket(LATENESS, json.dumps(state))


def test_a_rule_of_another_version_is_refused_before_anything_is_judged():
    bucket = Bucket(LATENESS)
    list(bucket.take([("H", "1", row) for row in rows(history(1, 300))], 0))
    list(bucket.flush(LATENESS))
    state = json.loads(bucket.to_json())
    state[1][0][2][3][0] = 99
    with pytest.raises(ValueError, match="the rule's state has version 99"):
        Bucket(LATENESS, json.dumps(state))


def test_a_state_that_nothing_came_for_stays_as_it_was():
    bucket = Bucket(LATENESS)
    list(bucket.take([("H", "1", row) for row in rows(history(1, 300))], 0))
    state = bucket.to_json()
    assert Bucket(LATENESS, state).to_json() == state


def test_two_hosts_in_one_bucket_are_judged_apart():
    histories = {name: history(seed, 500) for seed, name in enumerate("AB")}
    keyed = [(name, "1", row) for name, events in histories.items() for row in rows(events)]
    random.Random(3).shuffle(keyed)
    bucket = Bucket(LATENESS)
    found = [*bucket.take(keyed, 0), *bucket.flush(LATENESS)]
    for name, events in histories.items():
        assert [each.thread for each in found if each.host == name] == single_process(events)


def test_a_first_thread_that_a_second_start_may_have_hidden_is_a_fault():
    start = ProcessStart(T0 + 3, 8, 9, 20)
    events = [
        ThreadStart(T0 + 2, 20, 21, 20, 22),
        start,
        Contradiction(T0 + 3, "second-start", 20),
        ThreadStart(T0 + 4, 8, 9, 20, 23),
        ThreadStart(T0 + 5, 8, 9, 20, 24),
    ]
    judge = RecordingJudge("H", "1")
    fault, hit = [found for found in map(judge.judge, rows_of(events)) if found]
    assert isinstance(fault, Fault)
    assert (fault.host, fault.recording, fault.seq) == ("H", "1", 4)
    assert "thread 23 in process 20, made by process 8" in fault.fault
    assert (hit.thread.tid, hit.thread.evidence) == (24, ("second-start",))


def rows_of(events):
    """As `rows`, with the names of contradictions."""
    return [
        (*row[:7], event.name) if isinstance(event, Contradiction) else row
        for row, event in zip(rows(events), (None, *events), strict=True)
    ]
