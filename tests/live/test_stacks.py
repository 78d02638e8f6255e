"""Stacks of live thread starts: with their event, or the user part by itself, in time or late."""

from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etwdetect.core.events import MOST_FRAMES, ThreadStart
from etwdetect.core.raw import EVENT_TRACING, RawEvent
from etwdetect.live import stacks
from etwdetect.live.stacks import LATE, MISSING, LiveStacks
from etwdetect.sources.decode.encode import encode

KERNEL, USER = (0xFFFF_F802_0000_1000, 0xFFFF_F802_0000_2000), (0x7FFC_0000_1000, 0x1234)
START = ThreadStart(9, 10, 11, 20, 21)


def item(frames, match=0):
    return 6, pack(f"<Q{len(frames)}Q", match, *frames)


def user_part(match, frames):
    return RawEvent(EVENT_TRACING, 18, 0, 0, 12, 10, 11, 8, b"", stacks=(item(frames, match),))


def taken(held, *items, start=START):
    return held.take(encode(start)._replace(stacks=items), start)


def parts(stack):
    return stack.kernel_frames, stack.user_frames, stack.no_kernel, stack.no_user


def test_a_whole_stack_is_split_where_the_kernel_ends():
    held = LiveStacks()
    assert parts(held.completed(taken(held, item(KERNEL + USER)))) == (KERNEL, USER, None, None)


def test_a_part_that_does_not_come_is_missing():
    held = LiveStacks()
    assert parts(held.completed(taken(held, item(KERNEL)))) == (KERNEL, None, None, MISSING)
    assert parts(held.completed(taken(held, (18, bytes(16))))) == (None, None, MISSING, MISSING)


@pytest.mark.parametrize("before", [True, False], ids=["before", "behind"])
def test_a_user_part_that_comes_alone_is_joined_by_its_match(before):
    held = LiveStacks()
    if before:
        held.take(user_part(77, USER), None)
    stack = taken(held, item(KERNEL, 77))
    held.take(user_part(78, KERNEL), None)
    if not before:
        held.take(user_part(77, USER), None)
    assert parts(held.completed(stack)) == (KERNEL, USER, None, None)


def test_a_user_part_that_is_still_to_come_is_late():
    held = LiveStacks()
    assert held.completed(taken(held, item(KERNEL, 77))).no_user == LATE


def test_a_match_is_of_one_stack_alone():
    held = LiveStacks()
    held.take(user_part(77, USER), None)
    first, second = (taken(held, item(KERNEL, 77), start=START._replace(time=time)) for time in (9, 10))
    assert held.completed(first).user_frames == USER
    assert held.completed(second).no_user == LATE


def test_own_threads_and_other_events_have_no_stack():
    held = LiveStacks()
    own = START._replace(pid=10)
    assert held.take(encode(own)._replace(stacks=(item(KERNEL),)), own) is None
    assert held.take(encode(START)._replace(stacks=(item(KERNEL),)), None) is None


def test_what_waits_is_bounded(monkeypatch):
    monkeypatch.setattr(stacks, "MOST_WAITING", 2)
    held = LiveStacks()
    for match in range(1, 6):
        held.take(user_part(match, USER), None)
    assert held.completed(taken(held, item(KERNEL, 1))).no_user == LATE
    assert held.completed(taken(held, item(KERNEL, 4))).user_frames == USER


@given(st.lists(st.tuples(st.sampled_from([5, 6, 17, 18]), st.binary(max_size=64)), max_size=4))
def test_any_items_make_a_stack_with_a_reason_for_each_missing_part(items):
    held = LiveStacks()
    held.take(RawEvent(EVENT_TRACING, 18, 0, 0, 12, 10, 11, 8, b"", stacks=tuple(items)), None)
    stack = taken(held, *items)
    if stack is not None:
        stack = held.completed(stack)
        assert (stack.kernel_frames is None) == (stack.no_kernel is not None)
        assert (stack.user_frames is None) == (stack.no_user is not None)


def test_more_frames_than_windows_has_are_cut():
    stack = taken(LiveStacks(), item(KERNEL[:1] * 300))
    assert len(stack.kernel_frames) == MOST_FRAMES
    assert stack.user_frames is None


def test_the_user_part_begins_in_the_program_whatever_lies_behind():
    stack = taken(LiveStacks(), item((*KERNEL, *USER, *KERNEL)))
    assert parts(stack)[:2] == (KERNEL, USER + KERNEL)


def test_kernel_frames_are_no_user_part():
    held = LiveStacks()
    stack = taken(held, item(KERNEL, 77))
    held.take(user_part(77, KERNEL), None)
    assert held.completed(stack).user_frames is None
