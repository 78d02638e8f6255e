"""The pieces of call stacks, from bytes written by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etwdetect.core.raw import EVENT_TRACING, KERNEL_PROCESS, STACK_WALK, RawEvent
from etwdetect.sources.decode.stack_walk import (
    EITHER_BY_KEY,
    MATCH,
    MATCH_BY_KEY,
    USER_BY_MATCH,
    WHOLE,
    from_event,
    from_items,
    piece,
)
from tests.bytes_by_hand import compact_record, perfinfo_record, pointer, system_record, u32, u64

KERNEL, USER = 0xFFFF_F800_218B_8A00, 0x7F9_D02F_36BB
EVENT = u64(0x1234_5678_9ABC) + u32(0xF94) + u32(0xEC4)
"""The raw time of the event, its process and its thread."""

widths = pytest.mark.parametrize(("width", "header_type"), [(4, 0x10), (8, 0x11)])


@widths
def test_a_whole_stack_names_its_event_and_has_its_frames(width, header_type):
    frames = (0x8123_4567, 0x7701_0203)
    payload = EVENT + b"".join(pointer(width, frame) for frame in frames)
    found = piece(perfinfo_record(0x1820, payload, version=2, time=99, header_type=header_type), 0)
    assert (found.opcode, found.recorded, found.key, found.further) == (32, 99, None, None)
    assert (found.time, found.pid, found.tid) == (0x1234_5678_9ABC, 0xF94, 0xEC4)
    assert found.frames == frames


@widths
@pytest.mark.parametrize("opcode", [37, 38])
def test_a_part_by_key_names_its_event_and_has_a_key(width, header_type, opcode):
    payload = EVENT + pointer(width, 0x8343_ED90)
    found = piece(perfinfo_record(0x1800 | opcode, payload, version=2, header_type=header_type), 0)
    assert (found.time, found.pid, found.tid) == (0x1234_5678_9ABC, 0xF94, 0xEC4)
    assert (found.key, found.frames) == (0x8343_ED90, ())


@widths
@pytest.mark.parametrize("opcode", [34, 35, 36])
def test_a_definition_has_a_key_and_the_frames_behind_it(width, header_type, opcode):
    payload = b"".join(pointer(width, value) for value in (0x8343_ED90, 0x8123_4567, 0x8123_0000))
    found = piece(perfinfo_record(0x1800 | opcode, payload, version=2, time=7, header_type=header_type), 0)
    assert (found.recorded, found.key, found.frames) == (7, 0x8343_ED90, (0x8123_4567, 0x8123_0000))


@pytest.mark.parametrize(("make", "header_type"), [(system_record, 0x02), (compact_record, 0x04)])
def test_a_stack_is_read_behind_any_header_of_the_kernels_records(make, header_type):
    data = bytes(8) + make(0x1820, EVENT + u64(KERNEL), time=5, header_type=header_type)
    found = piece(data, 8)
    assert (found.recorded, found.pid, found.frames) == (5, 0xF94, (KERNEL,))


@pytest.mark.parametrize("rest", range(1, 8))
def test_what_is_no_whole_frame_is_none(rest):
    assert piece(perfinfo_record(0x1820, EVENT + u64(KERNEL) + bytes(rest)), 0).frames == (KERNEL,)


@pytest.mark.parametrize(
    ("opcode", "payload"),
    [(32, EVENT[:15]), (37, EVENT), (38, EVENT + bytes(7)), (35, bytes(7)), (36, b"")],
    ids=lambda value: str(value) if isinstance(value, int) else f"{len(value)} bytes",
)
def test_what_is_too_short_is_none(opcode, payload):
    assert piece(perfinfo_record(0x1800 | opcode, payload), 0) is None


def header(event_id, *items, provider=KERNEL_PROCESS):
    return RawEvent(provider, event_id, 1, 1, 0, 0xF94, 0xEC4, 8, b"", stacks=items)


def pieces(raw, *, is_user_part=False):
    return [piece(record, 0) for record in from_items(raw, 77, is_user_part=is_user_part)]


@pytest.mark.parametrize(("item_type", "width"), [(5, 4), (6, 8)])
def test_an_item_with_frames_is_a_whole_stack_of_its_own_event(item_type, width):
    frames = pointer(width, 0x8123_4567) + pointer(width, 0x7701_0203)
    (found,) = pieces(header(3, (item_type, u64(0) + frames)))
    assert (found.opcode, found.time, found.pid, found.tid) == (WHOLE, 77, 0xF94, 0xEC4)
    assert found.frames == (0x8123_4567, 0x7701_0203)


@pytest.mark.parametrize(("item_type", "width"), [(17, 4), (18, 8)])
def test_an_item_with_a_key_refers_to_it(item_type, width):
    (found,) = pieces(header(3, (item_type, u64(0) + pointer(width, 0x8343_ED90) + bytes(8 - width))))
    assert (found.opcode, found.time, found.key) == (EITHER_BY_KEY, 77, 0x8343_ED90)


def test_an_item_with_a_match_refers_to_the_user_part_in_another_event_too():
    kernel, user = pieces(header(3, (6, u64(0x55) + u64(KERNEL))))
    assert (kernel.opcode, kernel.frames) == (WHOLE, (KERNEL,))
    assert (user.opcode, user.time, user.pid, user.key) == (USER_BY_MATCH, 77, 0xF94, 0x55)


@pytest.mark.parametrize(
    ("item", "opcode", "frames", "further"),
    [((6, u64(0x55) + u64(USER)), MATCH, (USER,), None), ((18, u64(0x55) + u64(0xAB)), MATCH_BY_KEY, (), 0xAB)],
    ids=["frames", "key"],
)
def test_the_event_with_the_user_part_defines_its_match(item, opcode, frames, further):
    (found,) = pieces(header(18, item, provider=EVENT_TRACING), is_user_part=True)
    assert (found.opcode, found.key, found.frames, found.further) == (opcode, 0x55, frames, further)


def test_an_event_of_stackwalk_with_a_full_header_is_the_same_record():
    raw = RawEvent(STACK_WALK, 0, 2, 32, 0, 0xFFFFFFFF, 0xFFFFFFFF, 4, EVENT + u32(0x8123_4567))
    found = piece(from_event(raw, 77), 0)
    assert (found.opcode, found.recorded, found.pid, found.frames) == (32, 77, 0xF94, (0x8123_4567,))


@given(st.lists(st.tuples(st.sampled_from([5, 6, 17, 18]), st.binary(max_size=64))), st.booleans())
def test_any_items_make_records_that_can_be_read(items, is_user_part):
    for record in from_items(header(3, *items), 77, is_user_part=is_user_part):
        assert len(record) % 8 == 0
        piece(record, 0)


def test_the_largest_item_makes_a_record_that_fits_its_own_size():
    (record,) = from_items(header(3, (6, bytes(0xFFF7))), 77, is_user_part=False)
    assert len(piece(record, 0).frames) > 8000
