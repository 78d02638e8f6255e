"""Reading one record of every header type, its bytes written out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etwdetect.core.raw import RawEvent
from etwdetect.sources.decode import image_pid
from etwdetect.sources.etl import logfile, records
from etwdetect.sources.etl.clock import ClockConversion
from tests.bytes_by_hand import (
    ANCHOR,
    IMAGE,
    KERNEL_PROCESS,
    NOBODY,
    PROCESS,
    SOME_OTHER_PROVIDER,
    START_TIME,
    THREAD,
    compact_record,
    event_header_record,
    extended_item,
    full_record,
    logfile_payload,
    perfinfo_record,
    system_record,
)

OFFSET = 0x9000
# System time: a record's time stamp is a FILETIME, but for the distance of the two beginnings.
CLOCK = ClockConversion(logfile.parse(logfile_payload(clock=2)), anchor=START_TIME)
TIME = 0x01DA_1122_3344_5566

EVENT_HEADER = """
    58 00 13 c0  40 00 00 00  de 00 00 00  6f 00 00 00
    66 55 44 33 22 11 da 01
    d6 2c fb 22  7b 0e  2b 42  a0 c7  2f ad 1f d0 e7 16
    03 00  01  10  04  01  03 00  10 00 00 00 00 00 00 80
    01 00 00 00  02 00 00 00
    aa aa aa aa aa aa aa aa aa aa aa aa aa aa aa aa
    50 41 59 4c 4f 41 44 21
"""
FULL = """
    38 00 14 c0  01 04 03 00  de 00 00 00  6f 00 00 00
    66 55 44 33 22 11 da 01
    d1 a8 6f 3d  05 fe  d0 11  9d da  00 c0 4f d7 ba 7c
    01 00 00 00  02 00 00 00
    50 41 59 4c 4f 41 44 21
"""
SYSTEM = """
    03 00 02 c0  28 00 01 05  de 00 00 00  6f 00 00 00
    66 55 44 33 22 11 da 01
    01 00 00 00  02 00 00 00
    50 41 59 4c 4f 41 44 21
"""
COMPACT = """
    03 00 04 c0  20 00 01 05  de 00 00 00  6f 00 00 00
    66 55 44 33 22 11 da 01
    50 41 59 4c 4f 41 44 21
"""
PERFINFO = """
    03 00 11 c0  18 00 01 05
    66 55 44 33 22 11 da 01
    50 41 59 4c 4f 41 44 21
"""


def read(data, at=0):
    return records.read(bytearray(data), at, CLOCK, OFFSET)


FORMS = pytest.mark.parametrize(
    ("text", "header_type", "pointer_size", "expected"),
    [
        (EVENT_HEADER, 0x13, 8, (KERNEL_PROCESS, 3, 1, 1, TIME, 111, 222)),
        (FULL, 0x14, 8, (THREAD, 0, 3, 1, TIME, 111, 222)),
        (FULL, 0x0A, 4, (THREAD, 0, 3, 1, TIME, 111, 222)),
        (SYSTEM, 0x02, 8, (THREAD, 0, 3, 1, TIME, 111, 222)),
        (SYSTEM, 0x01, 4, (THREAD, 0, 3, 1, TIME, 111, 222)),
        (COMPACT, 0x04, 8, (THREAD, 0, 3, 1, TIME, 111, 222)),
        (COMPACT, 0x03, 4, (THREAD, 0, 3, 1, TIME, 111, 222)),
        (PERFINFO, 0x11, 8, (THREAD, 0, 3, 1, TIME, NOBODY, NOBODY)),
        (PERFINFO, 0x10, 4, (THREAD, 0, 3, 1, TIME, NOBODY, NOBODY)),
    ],
    ids=lambda value: hex(value) if isinstance(value, int) and value > 8 else None,
)


@FORMS
def test_a_record_of_every_header_type_tells_its_fields_and_payload(text, header_type, pointer_size, expected):
    data = bytearray.fromhex(text)
    data[2] = header_type
    assert read(data) == RawEvent(*expected, pointer_size, b"PAYLOAD!", OFFSET)


@FORMS
def test_a_record_ends_where_its_size_says(text, header_type, pointer_size, expected):
    data = bytearray.fromhex(text)
    data[2] = header_type
    size_at = 0 if header_type >= 0x12 or header_type == 0x0A else 4
    data[size_at] -= 3
    assert read(data + b"\xee" * 16).payload == b"PAYLO"
    data[size_at] -= 5
    event = read(b"\xee" * 8 + data, at=8)
    assert (event.payload, event.pointer_size, event[:7]) == (b"", pointer_size, expected)


@pytest.mark.parametrize(
    ("header_type", "flags", "pointer_size"),
    [(0x13, 0x20, 4), (0x13, 0x40, 8), (0x13, 0, 8), (0x12, 0x20, 4), (0x12, 0x40, 8), (0x12, 0, 4)],
)
def test_the_flags_of_an_event_name_its_pointer_size_before_its_header_type_does(header_type, flags, pointer_size):
    data = event_header_record(KERNEL_PROCESS, 3, header_type=header_type, flags=flags)
    assert read(data).pointer_size == pointer_size


@pytest.mark.parametrize(
    ("hook", "provider", "opcode"),
    [
        (0x0301, PROCESS, 1),
        (0x0302, PROCESS, 2),
        (0x0303, PROCESS, 3),
        (0x0304, PROCESS, 4),
        (0x030B, PROCESS, 11),
        (0x0327, PROCESS, 39),
        (0x0501, THREAD, 1),
        (0x0502, THREAD, 2),
        (0x0503, THREAD, 3),
        (0x0504, THREAD, 4),
        (0x030A, IMAGE, 10),
        (0x1402, IMAGE, 2),
        (0x1403, IMAGE, 3),
        (0x1404, IMAGE, 4),
        (0x0F33, b"", 0x33),
    ],
)
def test_a_hook_id_stands_for_a_class_and_an_opcode(hook, provider, opcode):
    event = read(system_record(hook, time=TIME))
    assert (event.provider, event.opcode) == (provider, opcode)
    if provider:
        assert hook in records.hook_ids(provider, frozenset([opcode]))


def test_hook_ids_are_only_those_of_kernel_classes_and_of_the_opcodes_asked_for():
    assert records.hook_ids(SOME_OTHER_PROVIDER, frozenset([1, 2])) == frozenset()
    assert records.hook_ids(THREAD, frozenset([1, 2])) == {0x0501, 0x0502}
    assert records.hook_ids(IMAGE, frozenset([2])) == {0x1402}


# -- extended items


@pytest.mark.parametrize(
    "items",
    [
        pytest.param(extended_item(b"\x01\x02\x03\x04\x05\x06\x07\x08"), id="one"),
        pytest.param(extended_item(b"abc"), id="padded"),
        pytest.param(extended_item(b""), id="empty"),
        pytest.param(extended_item(b"a", more=True) + extended_item(b"bb" * 9), id="two"),
        pytest.param(extended_item(b"", more=True) * 5 + extended_item(b"c" * 40), id="six"),
    ],
)
def test_extended_items_stand_before_the_payload_and_are_no_part_of_it(items):
    assert read(event_header_record(KERNEL_PROCESS, 3, b"PAYLOAD", extended=items)).payload == b"PAYLOAD"


def test_an_event_may_end_with_its_extended_items():
    items = extended_item(b"abc", more=True) + extended_item(b"")
    assert read(event_header_record(KERNEL_PROCESS, 3, extended=items)).payload == b""


def test_an_extended_item_written_out_is_stepped_over():
    item = "10 00 05 00 00 00 08 00  11 22 33 44 55 66 77 88"
    data = bytearray.fromhex(EVENT_HEADER.replace("58 00", "68 00").replace("40 00 00 00  de", "41 00 00 00  de"))
    data[80:80] = bytes.fromhex(item)
    assert read(data).payload == b"PAYLOAD!"


@pytest.mark.parametrize(
    ("item_type", "data", "key"),
    [(13, bytes(range(1, 9)), 0x0807060504030201), (13, b"1234", None), (12, b"12345678", None)],
)
def test_item_13_has_the_start_key_in_8_bytes(item_type, data, key):
    items = extended_item(b"", more=True) + extended_item(data, item_type=item_type)
    assert read(event_header_record(KERNEL_PROCESS, 3, extended=items)).start_key == key


@pytest.mark.parametrize(
    "items",
    [
        pytest.param(b"\x07\x00\x00\x00", id="no room for an item"),
        pytest.param(extended_item(b"", whole=0), id="size 0"),
        pytest.param(extended_item(b"", whole=0, more=True), id="size 0, and another: a loop"),
        pytest.param(extended_item(b"", whole=7), id="smaller than its own header"),
        pytest.param(extended_item(b"abcdefgh", whole=8), id="smaller than its data"),
        pytest.param(extended_item(b"", data_size=1), id="data past the item's end"),
        pytest.param(extended_item(b"", whole=0xFFFF), id="past the record's end"),
        pytest.param(extended_item(b"", more=True), id="another that is not there"),
        pytest.param(extended_item(b"", whole=16), id="one item past the record's end"),
    ],
)
def test_extended_items_that_do_not_add_up_are_an_error(items):
    data = event_header_record(KERNEL_PROCESS, 3, extended=items)
    with pytest.raises(ValueError, match="extended items are inconsistent"):
        read(data + extended_item(b""))


@given(st.binary(max_size=64), st.binary(max_size=16))
def test_any_extended_items_end_inside_of_the_record_or_are_an_error(items, behind):
    data = event_header_record(KERNEL_PROCESS, 3, extended=items, flags=0x41, size=80 + len(items))
    try:
        payload = read(data + behind).payload
    except ValueError:
        return
    assert payload == items[len(items) - len(payload) :]


# -- time


@pytest.mark.parametrize("time", [0, 2_650_467_743_999_999_999])
def test_the_first_and_the_last_moment_of_the_calendar_are_times(time):
    assert read(full_record(THREAD, 1, time=time)).time == time


@pytest.mark.parametrize("time", [-1, 2_650_467_744_000_000_000, -(1 << 63), (1 << 63) - 1])
def test_a_time_outside_of_the_calendar_is_an_error(time):
    with pytest.raises(ValueError, match="out of range"):
        read(full_record(THREAD, 1, time=time))


def test_a_time_stamp_goes_through_the_clock_of_the_trace():
    clock = ClockConversion(logfile.parse(logfile_payload(perf_freq=1_000_000)), ANCHOR)
    data = bytearray(full_record(THREAD, 1, time=ANCHOR + 7))
    assert records.read(data, 0, clock, 0).time == START_TIME + 70


# -- markers


@pytest.mark.parametrize(
    ("header_type", "kind", "size"),
    [
        (0x01, records.Kind.HOOKED, 32),
        (0x02, records.Kind.HOOKED, 32),
        (0x03, records.Kind.HOOKED, 24),
        (0x04, records.Kind.HOOKED, 24),
        (0x10, records.Kind.HOOKED, 16),
        (0x11, records.Kind.HOOKED, 16),
        (0x0A, records.Kind.NAMED, 48),
        (0x14, records.Kind.NAMED, 48),
        (0x12, records.Kind.NAMED, 80),
        (0x13, records.Kind.NAMED, 80),
        (0x0B, records.Kind.OTHER, 56),
        (0x15, records.Kind.OTHER, 56),
        (0x00, records.Kind.NONE, 0),
        (0x05, records.Kind.NONE, 0),
        (0xFF, records.Kind.NONE, 0),
    ],
)
def test_a_marker_names_the_header_only_with_its_upper_bit_set(header_type, kind, size):
    for flags in (0x80, 0xC0, 0xE0):
        marker = flags << 8 | header_type
        assert (records.KINDS[marker], records.HEADER_SIZES[marker]) == (kind, size)
    for flags in (0x00, 0x40, 0x7F):
        assert records.KINDS[flags << 8 | header_type] == records.Kind.NONE


@pytest.mark.parametrize("flags", [0x90, 0xD0, 0xFF])
def test_a_message_is_told_by_its_flags_whatever_its_type(flags):
    for header_type in (0x00, 0x02, 0x13, 0xFE):
        assert records.KINDS[flags << 8 | header_type] == records.Kind.OTHER
        assert records.HEADER_SIZES[flags << 8 | header_type] == 8


def test_the_fill_behind_the_last_record_is_no_record():
    assert records.KINDS[0xFFFF] == records.Kind.NONE


@given(
    st.integers(0x01, 0x15),
    st.integers(0, 3),
    st.sampled_from((0, 0x01, 0x20, 0x40, 0x60)),
    st.binary(max_size=32),
)
def test_what_is_told_of_an_image_at_a_glance_is_what_reading_the_record_tells(
    header_type, version, flags, payload
):
    data = {
        0x0A: full_record(IMAGE, 10, payload, version=version, pid=7, time=TIME, header_type=0x0A),
        0x10: perfinfo_record(0x140A, payload, version=version, time=TIME, header_type=0x10),
        0x11: perfinfo_record(0x140A, payload, version=version, time=TIME),
        0x12: event_header_record(
            KERNEL_PROCESS, 5, payload, version=version, pid=7, time=TIME, header_type=0x12, flags=flags
        ),
        0x13: event_header_record(KERNEL_PROCESS, 5, payload, version=version, pid=7, time=TIME, flags=flags),
        0x14: full_record(IMAGE, 10, payload, version=version, pid=7, time=TIME),
        0x03: compact_record(0x140A, payload, version=version, pid=7, time=TIME, header_type=0x03),
        0x04: compact_record(0x140A, payload, version=version, pid=7, time=TIME),
    }.get(
        header_type,
        system_record(0x140A, payload, version=version, pid=7, time=TIME, header_type=header_type & 3 or 1),
    )
    told = records.image_start(data + b"\xff" * 64, 0)
    if told is not None:
        event = read(data)
        assert (CLOCK.filetime(told[0]), told[1]) == (event.time, image_pid(event))
    usual = len(payload) >= 20 and header_type in (1, 2, 3, 4, 0x10, 0x11) and version > 0
    assert told is not None or not usual
