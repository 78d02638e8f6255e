"""The rule of docs/contributing/architecture.md, row by row, and against a second model of it: a plain list."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etwdetect.core.consistency import SECOND_START
from etwdetect.core.events import (
    UNKNOWN_ID,
    Contradiction,
    ImageLoad,
    Loss,
    ProcessRundown,
    ProcessStart,
    ProcessStop,
    SourceStart,
    ThreadRundown,
    ThreadStart,
    ThreadStop,
)
from etwdetect.core.rule import DEFAULT_BOUND, NewProcessTable, RemoteThread, RemoteThreadRule

SECOND = 10_000_000
T0 = 1_000 * SECOND


def created(pid, creator=(10, 11), time=T0):
    return ProcessStart(time, *creator, pid)


def exited(pid, time=T0):
    return ProcessStop(time, pid)


def thread(creator_pid, pid, time=T0):
    return ThreadStart(time, creator_pid, 11, pid, 21, 0x7FF0)


def found(pid, create_time, time=T0):
    return ProcessRundown(time, pid, create_time=create_time)


def hits(rule, *events):
    return [hit for hit in map(rule.observe, events) if hit]


@pytest.fixture
def rule():
    return RemoteThreadRule()


# -- the lines of a thread's row, in their order


def test_a_thread_made_by_another_process_in_one_that_has_threads_is_remote(rule):
    assert hits(rule, thread(10, 20)) == [RemoteThread(T0, 10, 11, 20, 21, 0x7FF0)]
    assert rule.counts.remote == rule.counts.seen == 1


def test_a_remote_thread_carries_the_time_ids_and_address_of_its_event(rule):
    (hit,) = hits(rule, ThreadStart(T0 + 5, 1, 2, 3, 4, None))
    assert hit == RemoteThread(T0 + 5, 1, 2, 3, 4, None, ())


def test_a_thread_made_by_its_own_process_is_its_own(rule):
    assert hits(rule, thread(20, 20)) == []
    assert rule.counts.own == rule.counts.seen == 1


@pytest.mark.parametrize("excluded", [0, 4])
def test_idle_and_system_as_creators_are_excluded(rule, excluded):
    assert hits(rule, thread(excluded, 20)) == []
    assert rule.counts.excluded == rule.counts.seen == 1


@pytest.mark.parametrize("excluded", [0, 4])
def test_idle_and_system_as_targets_are_excluded(rule, excluded):
    assert hits(rule, thread(20, excluded)) == []
    assert rule.counts.excluded == rule.counts.seen == 1


@pytest.mark.parametrize("neighbour", [1, 2, 3, 5, 8])
def test_ids_near_those_of_idle_and_system_are_not_excluded(rule, neighbour):
    assert len(hits(rule, thread(neighbour, 20), thread(20, neighbour))) == 2


def test_a_thread_that_system_makes_in_itself_is_its_own(rule):
    rule.observe(thread(4, 4))
    assert (rule.counts.own, rule.counts.excluded) == (1, 0)


def test_the_first_thread_of_a_new_process_is_not_remote_but_the_second_is(rule):
    assert len(hits(rule, created(20), thread(10, 20))) == 0
    assert rule.counts.first == 1
    assert len(hits(rule, thread(10, 20))) == 1


def test_the_first_thread_is_first_whoever_makes_it(rule):
    assert hits(rule, created(20, creator=(10, 11)), thread(99, 20)) == []
    assert rule.counts.first == 1


@pytest.mark.parametrize("maker", [0, 4, 20])
def test_a_first_thread_made_by_idle_system_or_the_target_takes_the_target_out_of_the_table(rule, maker):
    assert hits(rule, created(20), thread(maker, 20)) == []
    assert len(rule.table) == 0
    assert len(hits(rule, thread(10, 20))) == 1


def test_a_thread_by_an_unknown_creator_takes_the_target_out_of_the_table(rule):
    assert hits(rule, created(20), thread(UNKNOWN_ID, 20)) == []
    assert len(rule.table) == 0
    assert (rule.counts.unknown, rule.counts.first) == (1, 0)
    assert len(hits(rule, thread(10, 20))) == 1


@pytest.mark.parametrize("target", [20, 0, 4, UNKNOWN_ID])
def test_a_thread_by_an_unknown_creator_is_counted_as_unknown_and_never_remote(rule, target):
    assert hits(rule, thread(UNKNOWN_ID, target)) == []
    assert rule.counts.unknown == rule.counts.seen == 1


# -- creation and exit of processes


def test_an_exit_takes_the_process_out_of_the_table(rule):
    rule.observe(created(20))
    rule.observe(exited(20))
    assert len(rule.table) == 0
    assert len(hits(rule, thread(10, 20))) == 1


def test_an_exit_takes_no_other_process_out_of_the_table(rule):
    assert hits(rule, created(20), created(30), exited(30), exited(40), thread(10, 20)) == []
    assert rule.counts.first == 1


def test_a_process_id_used_again_is_new_again(rule):
    assert hits(rule, created(20), thread(10, 20), exited(20), created(20), thread(10, 20)) == []
    assert rule.counts.first == 2


def test_a_process_created_twice_is_in_the_table_once(rule):
    assert len(hits(rule, created(20), created(20), thread(10, 20), thread(10, 20))) == 1


@pytest.mark.parametrize(
    "event",
    [
        ThreadStop(T0, 20, 21),
        ThreadRundown(T0, 20, 21, 0x7FF0),
        ProcessRundown(T0, 20, create_time=T0),
        ImageLoad(T0, 20, 0x1000, 0x1000),
        Loss(T0, 1, 1),
    ],
    ids=lambda event: type(event).__name__,
)
def test_no_other_event_changes_the_table(rule, event):
    rule.observe(created(20))
    assert rule.observe(event) is None
    assert len(rule.table) == 1
    assert hits(rule, thread(10, 20)) == []
    assert rule.observe(event) is None
    assert len(rule.table) == 0


# -- the bound


def test_the_table_holds_16384_processes_by_default():
    assert DEFAULT_BOUND == 16_384
    assert RemoteThreadRule().table.bound == 16_384


@pytest.mark.parametrize("bound", [0, -1])
def test_a_table_without_room_is_refused(bound):
    with pytest.raises(ValueError, match="must be at least 1, not"):
        NewProcessTable(bound)


def test_a_full_table_evicts_the_entry_inserted_longest_ago_and_counts_it():
    rule = RemoteThreadRule(bound=2)
    for pid in (20, 30, 40):
        rule.observe(created(pid))
    assert (len(rule.table), rule.table.evictions) == (2, 1)
    assert hits(rule, thread(10, 30), thread(10, 40)) == []
    assert len(hits(rule, thread(10, 20))) == 1


def test_a_process_created_again_is_the_newest_entry():
    rule = RemoteThreadRule(bound=2)
    for pid in (20, 30, 20, 40):
        rule.observe(created(pid))
    assert rule.table.evictions == 1
    assert hits(rule, thread(10, 20), thread(10, 40)) == []
    assert len(hits(rule, thread(10, 30))) == 1


def test_a_process_created_again_in_a_full_table_evicts_nobody():
    rule = RemoteThreadRule(bound=2)
    for pid in (20, 30, 20):
        rule.observe(created(pid))
    assert rule.table.evictions == 0


def test_a_33rd_waiting_process_still_finds_room(rule):
    """The first published driver has 32 slots and reports the first thread of the 33rd process."""
    pids = range(100, 133)
    assert hits(rule, *map(created, pids), *(thread(10, pid) for pid in pids)) == []


# -- evidence


def evidence(rule, *events):
    return [hit.evidence for hit in hits(rule, *events)]


def test_a_hit_without_doubt_has_no_evidence():
    assert evidence(RemoteThreadRule(session_start=T0), thread(10, 20, T0 + 2 * SECOND)) == [()]


@pytest.mark.parametrize(
    ("after", "expected"), [(0, ("session-start",)), (SECOND, ("session-start",)), (SECOND + 1, ())]
)
def test_a_target_not_seen_to_start_is_in_doubt_within_a_second_of_the_sessions_start(after, expected):
    rule = RemoteThreadRule(session_start=T0)
    assert evidence(rule, thread(10, 20, T0 + after)) == [expected]


def test_a_target_seen_to_start_in_the_session_is_not_in_doubt():
    rule = RemoteThreadRule(session_start=T0)
    events = created(20, time=T0 + 1), thread(10, 20, T0 + 2), thread(10, 20, T0 + 3)
    assert evidence(rule, *events) == [()]


def test_a_target_listed_as_older_than_the_session_is_not_in_doubt():
    rule = RemoteThreadRule(session_start=T0)
    assert evidence(rule, found(20, T0 - SECOND - 1), thread(10, 20, T0 + 2)) == [()]


@pytest.mark.parametrize("create_time", [None, T0 - SECOND, T0])
def test_a_target_listed_as_just_born_or_of_unknown_age_stays_in_doubt(create_time):
    rule = RemoteThreadRule(session_start=T0)
    assert evidence(rule, found(20, create_time), thread(10, 20, T0 + 2)) == [("session-start",)]


def test_another_source_begins_a_second_of_doubt_for_targets_not_known_to_be_older():
    rule = RemoteThreadRule(session_start=T0)
    later = T0 + 60 * SECOND
    events = created(30, time=T0 + 5), thread(10, 30, T0 + 6), SourceStart(later), created(50, time=later + 1)
    assert evidence(rule, *events, exited(50, later + 2)) == []
    hits_after = thread(10, 20, later), thread(10, 30, later + 1), thread(10, 50, later + 2)
    assert evidence(rule, *hits_after, thread(10, 20, later + SECOND + 1)) == [
        ("session-start",),
        (),
        ("session-start",),
        (),
    ]


def test_before_the_moment_from_which_on_a_recording_is_whole_all_is_in_doubt():
    rule = RemoteThreadRule(session_start=T0)
    assert evidence(rule, thread(10, 20, T0 - 60 * SECOND)) == [("session-start",)]


def test_a_contradiction_marks_the_hits_by_and_in_its_process_until_it_exits():
    rule = RemoteThreadRule()
    told = Contradiction(T0, "told-twice", 20), Contradiction(T0, "told-twice", 20)
    mark = ("told-twice",)
    assert evidence(rule, *told, thread(10, 20), thread(20, 30), thread(10, 30)) == [mark, mark, ()]
    assert evidence(rule, exited(20), thread(10, 20)) == [()]


def test_contradictions_are_counted_by_name():
    rule = RemoteThreadRule()
    for event in Contradiction(T0, "a", 20), Contradiction(T0, "a", 20), Contradiction(T0, "b"):
        rule.observe(event)
    assert rule.contradictions == {"a": 2, "b": 1}


def test_a_contradiction_of_the_whole_recording_marks_every_hit_behind_the_other_evidence():
    rule = RemoteThreadRule()
    whole = Contradiction(T0, "second-header"), Contradiction(T0, "doubled-buffer")
    assert evidence(rule, *whole, Loss(T0, 1), thread(10, 20)) == [
        ("events-lost:1", "doubled-buffer", "second-header")
    ]


def test_a_first_thread_behind_a_second_start_of_a_running_process_is_a_possible_miss():
    rule = RemoteThreadRule(session_start=T0)
    hidden = thread(30, 20, T0 + 4)
    again = created(20, time=T0 + 3), Contradiction(T0 + 3, SECOND_START, 20)
    events = created(20, time=T0 + 1), thread(10, 20, T0 + 2), *again, hidden
    assert hits(rule, *events) == []
    assert (rule.possible_misses, rule.possible_miss_count) == ([hidden], 1)


@pytest.mark.parametrize(
    "events",
    [
        (created(20, time=T0 + 1), created(20, time=T0 + 2), thread(10, 20, T0 + 3)),
        (Contradiction(T0, SECOND_START, 20), exited(20), created(20), thread(10, 20)),
        (Contradiction(T0, SECOND_START, 20), created(20), thread(10, 20)),
        (created(20), Contradiction(T0, SECOND_START, 20), thread(20, 20)),
    ],
    ids=["no thread between", "an exit between", "another start", "its own thread"],
)  # fmt: skip
def test_no_other_first_thread_is_a_possible_miss(events):
    rule = RemoteThreadRule(session_start=T0)
    assert hits(rule, *events) == []
    assert rule.possible_miss_count == 0


def test_contradictions_without_end_are_bounded():
    rule = RemoteThreadRule()
    for number in range(70_000):
        rule.observe(Contradiction(T0, "told-twice", number))
        rule.observe(Contradiction(T0, f"other-{number}"))
    assert len(rule.snapshot(T0).contradictions) == 65_536
    assert len(evidence(rule, thread(10, 20))[0]) == 9
    assert len(rule.contradictions) == 64


def test_without_a_session_no_target_is_in_doubt():
    assert evidence(RemoteThreadRule(), thread(10, 20)) == [()]


def test_lost_events_and_buffers_mark_every_hit_that_follows_with_their_sums():
    rule = RemoteThreadRule()
    assert evidence(
        rule,
        thread(10, 20),
        Loss(T0, 3),
        thread(10, 20),
        Loss(T0, 4, 2),
        Loss(T0, 0, 1),
        thread(10, 20),
    ) == [(), ("events-lost:3",), ("events-lost:7", "buffers-lost:3")]


def test_a_loss_of_nothing_is_no_evidence():
    assert evidence(RemoteThreadRule(), Loss(T0, 0, 0), thread(10, 20)) == [()]


def test_an_evicted_target_and_all_born_since_are_marked_but_none_born_before():
    rule = RemoteThreadRule(bound=2)
    # 20 and 30 are born; 40 takes 20's place: the first eviction.
    rule.observe(created(20))
    rule.observe(created(30))
    rule.observe(created(40))
    rule.observe(created(30))
    rule.observe(thread(10, 30))
    rule.observe(thread(10, 40))
    overflow = ("table-overflow",)
    assert evidence(rule, thread(10, 20), thread(10, 40), thread(10, 30)) == [overflow] * 3
    assert evidence(rule, thread(10, 50)) == [()]


def test_a_target_born_before_the_first_eviction_and_not_evicted_is_not_marked():
    rule = RemoteThreadRule(bound=2)
    rule.observe(created(5))
    rule.observe(thread(10, 5))
    for pid in (20, 30, 40):
        rule.observe(created(pid))
    assert evidence(rule, thread(10, 5)) == [()]


def test_the_mark_of_an_overflow_goes_with_the_exit_of_the_process():
    rule = RemoteThreadRule(bound=1)
    rule.observe(created(20))
    rule.observe(created(30))
    rule.observe(exited(20))
    assert evidence(rule, thread(10, 20), thread(10, 30), thread(10, 30)) == [(), ("table-overflow",)]


def test_once_the_marked_outnumber_twice_the_table_every_target_is_marked():
    rule = RemoteThreadRule(bound=1)
    for pid in (20, 30):
        rule.observe(created(pid))
    assert evidence(rule, thread(10, 99)) == [()]
    rule.observe(created(40))
    assert evidence(rule, thread(10, 99)) == [("table-overflow",)]


def test_evidence_stands_in_one_order():
    rule = RemoteThreadRule(bound=1, session_start=T0)
    for event in (Loss(T0, 1, 1), created(20, time=T0 - 5 * SECOND), created(30), exited(30)):
        rule.observe(event)
    assert evidence(rule, thread(10, 20)) == [
        ("session-start", "events-lost:1", "buffers-lost:1", "table-overflow")
    ]


def test_a_target_that_was_listed_with_a_thread_had_its_first_one_before_the_session():
    rule = RemoteThreadRule(session_start=T0)
    assert evidence(rule, ThreadRundown(T0 + 1, 20, 21), thread(10, 20, T0 + 2)) == [()]


@pytest.mark.parametrize("session_start", [None, T0])
def test_memory_is_bounded_however_many_processes_start(session_start):
    rule = RemoteThreadRule(bound=16, session_start=session_start)
    for pid in range(100, 90_100):
        rule.observe(created(pid))
    assert (len(rule.table), rule.table.evictions) == (16, 90_000 - 16)
    # At most 65,536 processes are remembered as seen to start within a second of the session's start.
    assert len(pickle.dumps(rule)) < (2_000 if session_start is None else 65_536 * 5 + 2_000)


# -- a second model


class PlainList:
    """The rule's table in the most naive form, the oldest entry first."""

    def __init__(self, bound):
        self.bound = bound
        self.pids = []

    def forget(self, pid):
        self.pids = [other for other in self.pids if other != pid]

    def judge(self, event):
        match event:
            case ProcessStart():
                self.forget(event.pid)
                self.pids = [*self.pids, event.pid][-self.bound :]
            case ProcessStop():
                self.forget(event.pid)
            case ThreadStart():
                was_new = event.pid in self.pids
                self.forget(event.pid)
                creator, target = event.creator_pid, event.pid
                lines = [
                    (creator == 0xFFFFFFFF, "unknown"),
                    (creator == target, "own"),
                    (creator in (0, 4) or target in (0, 4), "excluded"),
                    (was_new, "first"),
                ]
                return next((name for holds, name in lines if holds), "remote")
        return None


few_pids = st.sampled_from([0, 4, 5, 6, 7, 8, UNKNOWN_ID])
histories = st.lists(
    st.one_of(
        st.builds(created, few_pids),
        st.builds(exited, few_pids),
        st.builds(thread, few_pids, few_pids),
        st.builds(found, few_pids, st.none()),
        st.builds(Loss, st.just(T0), st.integers(0, 2)),
    ),
    max_size=60,
)


@given(histories, st.integers(1, 5))
def test_the_rule_judges_every_history_as_a_plain_list_does(events, bound):
    rule, model = RemoteThreadRule(bound), PlainList(bound)
    judged = {"own": 0, "excluded": 0, "first": 0, "remote": 0, "unknown": 0}
    for event in events:
        expected = model.judge(event)
        if expected:
            judged[expected] += 1
        hit = rule.observe(event)
        assert (hit is not None) == (expected == "remote")
        assert hit is None or hit[:6] == event[:6]
        assert len(rule.table) == len(model.pids) <= bound
    assert vars(rule.counts) == judged


@given(histories, st.integers(1, 5))
def test_the_table_lets_go_of_entries_in_the_order_in_which_a_plain_list_does(events, bound):
    table, model = NewProcessTable(bound), PlainList(bound)
    evictions = 0
    for event in events:
        match event:
            case ProcessStart(pid=pid):
                before = [other for other in model.pids if other != pid]
                model.judge(event)
                evicted = table.add(pid)
                assert evicted == (before[0] if len(before) == bound else None)
                evictions += evicted is not None
            case ThreadStart(pid=pid) | ProcessStop(pid=pid):
                assert table.take(pid) == (pid in model.pids)
                model.judge(event)
        assert table.evictions == evictions


@given(histories)
def test_what_makes_a_hit_uncertain_never_changes_what_is_a_hit(events):
    plain, doubting = RemoteThreadRule(3), RemoteThreadRule(3, session_start=T0)
    doubting.observe(Loss(T0, 1, 1))
    assert [hit[:6] for hit in hits(plain, *events)] == [hit[:6] for hit in hits(doubting, *events)]
