"""A rule that is saved and restored between any two events decides as one that was not."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etwdetect.core.doubts import SESSION_START_MARGIN
from etwdetect.core.events import (
    Contradiction,
    Loss,
    ProcessRundown,
    ProcessStart,
    ProcessStop,
    ThreadRundown,
    ThreadStart,
)
from etwdetect.core.order import order_of
from etwdetect.core.rule import RemoteThreadRule
from etwdetect.core.rule_state import STATE_VERSION, RuleState

T0 = 1_000 * SESSION_START_MARGIN

few_pids = st.sampled_from([0, 4, 5, 6, 7, 8, 0xFFFFFFFF])
times = st.integers(T0 - SESSION_START_MARGIN - 2, T0 + SESSION_START_MARGIN + 2)
histories = st.lists(
    st.one_of(
        st.builds(ProcessStart, times, few_pids, st.just(1), few_pids),
        st.builds(ProcessStop, times, few_pids),
        st.builds(ThreadStart, times, few_pids, st.just(1), few_pids, st.just(2), st.just(3)),
        st.builds(ProcessRundown, times, few_pids, create_time=st.none() | st.just(T0 - 10**9)),
        st.builds(ThreadRundown, times, few_pids, st.just(2)),
        st.builds(Loss, times, st.integers(0, 2), st.integers(0, 2)),
        st.builds(Contradiction, times, st.sampled_from(["told-twice", "b"]), few_pids | st.none()),
    ),
    max_size=50,
).map(lambda events: sorted(events, key=order_of))


@given(histories, st.integers(1, 4), st.sampled_from([None, T0]), st.sets(st.integers(0, 50)))
def test_restarts_between_any_two_events_change_nothing(events, bound, session_start, restarts):
    whole = RemoteThreadRule(bound, session_start)
    cut = RemoteThreadRule(bound, session_start)
    for number, event in enumerate(events):
        if number in restarts and number:
            stored = json.loads(json.dumps(cut.snapshot(events[number - 1].time)))
            cut = RemoteThreadRule.restore(RuleState(*stored))
        assert cut.observe(event) == whole.observe(event)
        assert cut.table.evictions == whole.table.evictions


def test_what_is_known_of_the_sessions_start_is_left_out_when_it_is_over():
    rule = RemoteThreadRule(session_start=T0)
    rule.observe(ProcessStart(T0, 1, 2, 3))
    assert rule.snapshot(T0 + SESSION_START_MARGIN).known == (3,)
    later = rule.snapshot(T0 + SESSION_START_MARGIN + 1)
    assert (later.session_start, later.known, later.new_processes) == (None, (), (3,))


def test_a_state_of_another_version_is_refused():
    state = RemoteThreadRule().snapshot(0)._replace(version=STATE_VERSION + 1)
    with pytest.raises(ValueError, match="the rule's state has version 2; this etwdetect reads version 1"):
        RemoteThreadRule.restore(state)
