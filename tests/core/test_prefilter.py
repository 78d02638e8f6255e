"""What is passed over in columns changes neither a verdict nor a count nor what the rule remembers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etwdetect.core.consistency import Consistency
from etwdetect.core.events import (
    UNKNOWN_ID,
    Contradiction,
    Loss,
    ProcessRundown,
    ProcessStart,
    ProcessStop,
    SourceStart,
    ThreadRundown,
    ThreadStart,
)
from etwdetect.core.rule import RemoteThreadRule

np = pytest.importorskip("numpy")
from etwdetect.core.prefilter import counts_of, passed_over  # noqa: E402 (it imports numpy)

SECOND = 10_000_000
CODES = {
    SourceStart: 1,
    Loss: 2,
    ProcessStop: 3,
    ProcessStart: 4,
    ProcessRundown: 5,
    ThreadRundown: 6,
    Contradiction: 7,
    ThreadStart: 8,
}

pids = st.sampled_from([0, 4, 8, 12, 16, 20])
creators = st.sampled_from([0, 4, 8, 12, UNKNOWN_ID])
moves = st.one_of(
    st.builds(lambda pid: lambda time: ProcessStart(time, 8, 9, pid), pids),
    st.builds(lambda pid: lambda time: ProcessStop(time, pid), pids),
    st.builds(lambda creator, pid: lambda time: ThreadStart(time, creator, 9, pid, 77), creators, pids),
    st.builds(lambda pid: lambda time: ThreadStart(time, pid, 9, pid, 78), pids),
    st.builds(lambda pid: lambda time: ThreadRundown(time, pid, 79), pids),
    st.builds(lambda pid, age: lambda time: ProcessRundown(time, pid, create_time=age), pids, st.integers(0, 9)),
    st.builds(lambda pid: lambda time: Contradiction(time, "told-twice", pid), st.none() | pids),
    st.builds(lambda count: lambda time: Loss(time, count), st.integers(1, 2)),
    st.just(SourceStart),
)
lives = st.builds(
    lambda pid, creators: [
        lambda time: ProcessStart(time, 8, 9, pid),
        *(lambda time, creator=creator: ThreadStart(time, creator or pid, 9, pid, 77) for creator in creators),
        lambda time: ProcessStop(time, pid),
    ],
    pids,
    st.lists(st.sampled_from([None, None, None, 4, 8]), max_size=3),
)
histories = st.lists(st.one_of(moves.map(lambda move: [move]), lives), max_size=25).map(
    lambda parts: [move for part in parts for move in part]
)


def judged(rule, events, consistency=None):
    checked = consistency.checked(events) if consistency else events
    return [hit for hit in map(rule.observe, checked) if hit]


def judged_in_blocks(rule, events, size, seen=0, consistency=None):
    """Return the hits of *rule* and how many events it need not see; *seen* are bits of those that it sees."""
    passed_count = 0

    def unseen():
        nonlocal passed_count
        for begin in range(0, len(events), size):
            block = events[begin : begin + size]
            code = np.array([CODES[type(event)] for event in block], np.uint8)
            pid = np.array([getattr(event, "pid", None) or 0 for event in block], np.uint32)
            creator = np.array([getattr(event, "creator_pid", 0) for event in block], np.uint32)
            always = np.array([bool(seen >> number & 1) for number in range(begin, begin + len(block))], np.bool_)
            passed = passed_over(code, pid, creator, rule, consistency, always) & ~always
            rule.count(counts_of(code[passed], pid[passed], creator[passed]))
            passed_count += int(passed.sum())
            for event, over in zip(block, passed.tolist(), strict=True):
                if not over:
                    yield event
                elif consistency and isinstance(event, ProcessStop):
                    consistency.lived(event.pid, event.time)

    return judged(rule, unseen(), consistency), passed_count


def memory(rule, now, consistency=None):
    known = ()
    if consistency:
        exited = [(pid, consistency._exited[pid]) for pid in consistency.exited]
        known = set(consistency.running), exited, consistency._risen
    state = rule.snapshot(now), rule.counts, rule.possible_misses, rule.possible_miss_count, rule.remembered
    return *state, rule.contradictions, known


numbers_of_seen = st.just(0) | st.integers(0)


@given(histories, st.integers(1, 60), st.integers(1, 4), st.sampled_from([None, 0, 5]), numbers_of_seen)
def test_a_rule_that_sees_what_is_left_ends_as_one_that_sees_everything(moves, size, bound, start, seen):
    events = [move(number) for number, move in enumerate(moves)]
    whole, part = RemoteThreadRule(bound, start), RemoteThreadRule(bound, start)
    expected = judged(whole, events)
    assert judged_in_blocks(part, events, size, seen)[0] == expected
    assert memory(part, len(events)) == memory(whole, len(events))


@given(histories, st.integers(1, 60), st.integers(1, 4), st.sampled_from([1, 3000]), numbers_of_seen)
def test_what_contradicts_itself_is_told_where_most_is_passed_over(moves, size, bound, step, seen):
    events = [move(number * step) for number, move in enumerate(moves)]
    whole, part = RemoteThreadRule(bound + 1, 0), RemoteThreadRule(bound + 1, 0)
    knows_all, knows_part = Consistency(), Consistency()
    expected = judged(whole, events, knows_all)
    assert judged_in_blocks(part, events, size, seen, knows_part)[0] == expected
    now = len(events) * step
    assert memory(part, now, knows_part) == memory(whole, now, knows_all)


@given(histories, st.integers(1, 60), st.integers(1, 4))
def test_nothing_is_forgotten_where_few_processes_are_remembered(moves, size, most):
    events = [move(number) for number, move in enumerate(moves)]
    whole, part = RemoteThreadRule(100, 0), RemoteThreadRule(100, 0)
    for rule in (whole, part):
        rule._start._MOST_KNOWN = most
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("etwdetect.core.consistency.MOST_PROCESSES", most)
        knows_all, knows_part = Consistency(), Consistency()
        expected = judged(whole, events, knows_all)
        assert judged_in_blocks(part, events, size, consistency=knows_part)[0] == expected
        assert memory(part, len(events), knows_part) == memory(whole, len(events), knows_all)


def test_own_threads_and_whole_lives_are_passed_over():
    events = [
        ProcessStart(1, 8, 9, 100),
        ThreadStart(2, 8, 9, 100, 1),
        *(ThreadStart(3, 100, 1, 100, number) for number in range(5)),
        ProcessStop(4, 100),
        ThreadStart(5, 8, 9, 8, 10),
        ThreadStart(6, UNKNOWN_ID, 0, 12, 13),
        ThreadStart(7, 4, 5, 12, 14),
    ]
    rule = RemoteThreadRule(session_start=0)
    assert judged_in_blocks(rule, events, 100) == ([], len(events))
    assert (rule.counts.own, rule.counts.first, rule.counts.unknown, rule.counts.excluded) == (6, 1, 1, 1)


def test_a_remote_thread_in_a_short_life_is_seen_with_what_leads_to_it():
    events = [
        ProcessStart(1, 8, 9, 100),
        ThreadStart(2, 8, 9, 100, 1),
        ThreadStart(3, 8, 9, 100, 2),
        ProcessStop(4, 100),
    ]
    rule = RemoteThreadRule(session_start=0)
    hits, passed = judged_in_blocks(rule, events, 100)
    assert ([hit.tid for hit in hits], passed) == ([2], 0)


def test_no_events_are_no_trouble():
    assert judged_in_blocks(RemoteThreadRule(session_start=0), [], 1) == ([], 0)
    assert not len(passed_over(*(np.array([], np.uint32) for _ in range(3)), RemoteThreadRule(session_start=0)))
