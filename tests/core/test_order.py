"""Events in the order of time, ties included, however many there are and in whatever order they come."""

import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etwdetect.core.events import (
    ImageLoad,
    ImageUnload,
    Loss,
    ProcessRundown,
    ProcessStart,
    ProcessStop,
    ThreadRundown,
    ThreadStart,
    ThreadStop,
)
from etwdetect.core.order import EventSorter
from etwdetect.core.rule import RemoteThreadRule


def ordered(events, **limit):
    sorter = EventSorter(**limit)
    for event in events:
        sorter.add(event)
    return list(sorter)


EXIT = ProcessStop(5, 20)
START = ProcessStart(5, 10, 11, 20)
FIRST_THREAD = ThreadStart(5, 10, 11, 20, 21)


@pytest.mark.parametrize(
    "events",
    [
        (EXIT, START, FIRST_THREAD),
        (EXIT, FIRST_THREAD, START),
        (START, EXIT, FIRST_THREAD),
        (START, FIRST_THREAD, EXIT),
        (FIRST_THREAD, EXIT, START),
        (FIRST_THREAD, START, EXIT),
    ],
)
def test_at_one_tick_an_exit_comes_before_a_process_start_and_that_before_a_thread_start(events):
    assert ordered(events) == [EXIT, START, FIRST_THREAD]


def test_at_one_tick_a_loss_comes_first_and_what_names_a_process_before_its_threads():
    loss, found = Loss(5, 1), ProcessRundown(5, 20, image="a.exe")
    assert ordered([FIRST_THREAD, found, START, EXIT, loss]) == [loss, EXIT, START, found, FIRST_THREAD]


def test_time_comes_before_kind():
    later_exit = ProcessStop(6, 20)
    assert ordered([later_exit, FIRST_THREAD]) == [FIRST_THREAD, later_exit]


def test_at_one_tick_events_of_one_kind_keep_the_order_in_which_they_came():
    events = [ThreadStart(5, 10, 11, pid, 21) for pid in (9, 3, 7, 1, 8)]
    assert ordered(events) == events
    assert ordered(events, limit=2) == events


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_a_sorters_length_is_how_many_events_it_was_given(limit):
    sorter = EventSorter(limit=limit)
    for number in range(7):
        assert len(sorter) == number
        sorter.add(EXIT)
    assert len(sorter) == 7


def test_events_that_nobody_fetches_leave_no_file_open():
    """An open file that is forgotten is a ResourceWarning, which is an error here."""
    for number_fetched in (0, 1, 5):
        sorter = EventSorter(limit=2)
        for _ in range(9):
            sorter.add(EXIT)
        events = iter(sorter)
        assert [next(events) for _ in range(number_fetched)] == [EXIT] * number_fetched
        del sorter, events
        gc.collect()


def test_no_events_are_in_order():
    assert ordered([]) == []


@pytest.mark.parametrize("limit", [1, 2, 3, 199, 200, 201])
def test_more_runs_than_are_merged_at_once_are_in_order_too(limit):
    events = [ThreadStop(number * 37 % 200, 1, number) for number in range(200)]
    assert ordered(events, limit=limit) == sorted(events)


def test_a_run_of_many_blocks_comes_back_whole():
    events = [ThreadStop(number * 7919 % 10_007, 1, number) for number in range(10_007)]
    assert ordered(events, limit=4000) == sorted(events)


times = st.integers(0, 4)
ids = st.integers(0, 3)
any_event = st.one_of(
    st.builds(Loss, times, ids),
    st.builds(ProcessStop, times, ids),
    st.builds(ProcessStart, times, ids, ids, ids),
    st.builds(ProcessRundown, times, ids, image=st.sampled_from(["a", "\ud800", None])),
    st.builds(ThreadRundown, times, ids, ids),
    st.builds(ThreadStop, times, ids, ids),
    st.builds(ImageLoad, times, ids, ids, ids),
    st.builds(ImageUnload, times, ids, ids, ids),
    st.builds(ThreadStart, times, ids, ids, ids, ids),
)
RANK = [
    {Loss},
    {ProcessStop},
    {ProcessStart},
    {ProcessRundown, ThreadRundown, ThreadStop, ImageLoad, ImageUnload},
    {ThreadStart},
]


def rank(event):
    return next(number for number, kinds in enumerate(RANK) if type(event) in kinds)


@given(st.lists(any_event, max_size=80), st.integers(1, 90))
def test_the_order_is_that_of_time_then_kind_then_coming_whatever_is_held_in_memory(events, limit):
    expected = [
        event
        for _, _, _, event in sorted(
            (event.time, rank(event), number, event) for number, event in enumerate(events)
        )
    ]
    came_back = ordered(events, limit=limit)
    assert came_back == expected
    assert [type(event) for event in came_back] == [type(event) for event in expected]


@given(st.permutations([START, FIRST_THREAD, EXIT, ThreadStart(6, 10, 11, 20, 22), ProcessStart(6, 10, 11, 30)]))
def test_the_rule_gives_the_same_whatever_the_order_of_the_file(events):
    rule = RemoteThreadRule()
    hits = [hit for hit in map(rule.observe, ordered(events, limit=2)) if hit]
    assert [(hit.time, hit.tid) for hit in hits] == [(6, 22)]
    assert rule.counts.first == 1
