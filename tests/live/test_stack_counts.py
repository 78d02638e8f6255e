"""What `doctor --stacks` counts: the stacks of the thread starts of its own, of all events that came."""

from struct import pack

from etwdetect.core.events import ThreadStart
from etwdetect.core.raw import EVENT_TRACING, RawEvent
from etwdetect.live.stack_counts import StackCounts, count_stacks
from etwdetect.sources.decode.encode import encode

KERNEL, USER = (0xFFFF_F802_0000_1000,), (0x7FFC_0000_1000, 0x1234)
ME, CREATOR = 10, 11


def item(frames, match=0):
    return 6, pack(f"<Q{len(frames)}Q", match, *frames)


def start(tid, *stacks, pid=ME):
    return encode(ThreadStart(tid, ME, CREATOR, pid, tid))._replace(stacks=stacks)


def user_part(match):
    return RawEvent(EVENT_TRACING, 18, 0, 0, 99, ME, CREATOR, 8, b"", stacks=(item(USER, match),))


def test_each_part_is_counted_with_or_behind_its_event():
    raws = [
        start(1, item(KERNEL + USER)),
        start(2, item(KERNEL, 77)),
        start(3, item(KERNEL, 78)),
        start(4),
        user_part(77),
    ]
    assert count_stacks(raws, ME, {1, 2, 3, 4}) == StackCounts(4, 3, 2, 32 + 16 + 16)


def test_threads_of_others_are_not_counted():
    raws = [start(1, item(KERNEL + USER), pid=20), start(2, item(KERNEL + USER))]
    assert count_stacks(raws, ME, {1}) == StackCounts(0, 0, 0, 0)


def test_nothing_is_put_into_words_too():
    words = "of 0 thread starts 0 got the kernel part of the call stack and 0 the user part, 0 bytes each"
    assert StackCounts(0, 0, 0, 0).words() == words
