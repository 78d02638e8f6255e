"""Both detectors on random histories: short ones that shrink to the smallest example, and long ones by seed."""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etwdetect.core.events import ProcessStart, ProcessStop, ThreadStart
from parity_tests.tests.histories import History, difference, generate

pytestmark = pytest.mark.usefixtures("simulated_kernel")

PIDS = st.sampled_from([0, 4, *range(1000, 1024, 4)])
TIDS = st.integers(2001, 2003)
MADE = st.one_of(
    st.builds(lambda creator, pid: ProcessStart(0, creator, creator + 1, pid), PIDS, PIDS),
    st.builds(lambda pid: ProcessStop(0, pid), PIDS),
    st.builds(
        lambda creator, pid, tid: ThreadStart(0, creator, creator + 1, pid, tid),
        PIDS,
        PIDS,
        st.integers(2001, 2003),
    ),
)


@pytest.mark.slow
@settings(max_examples=2_000, deadline=None)
@given(events=st.lists(MADE, max_size=40), bound=st.integers(1, 5), seed=st.integers(0, 1000))
def test_the_detectors_agree_on_short_histories(events, bound, seed):
    timed = [event._replace(time=number) for number, event in enumerate(events, 1)]
    assert difference(History(timed, bound), random.Random(seed), Counter()) == []


@pytest.mark.slow
def test_the_detectors_agree_on_500_histories_of_up_to_10000_events():
    rows = Counter()
    longest = 0
    for number in range(500):
        chance = random.Random(number)
        history = generate(chance)
        assert difference(history, chance, rows) == [], f"history {number} of {len(history.events)} events"
        longest = max(longest, len(history.events))
    assert longest > 9_000
    assert len(rows) == 10
    assert min(rows.values()) > 1_000, "a row of the rule was hardly hit"
