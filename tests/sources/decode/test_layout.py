"""Layouts as text, and the readers made of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etwdetect.core.errors import PayloadError
from etwdetect.core.raw import IMAGE
from etwdetect.sources.decode import IMAGE_PIDS, kernel_process, system_trace
from etwdetect.sources.decode.layout import Layout

TYPES = ("u8", "u16", "u32", "u64", "ptr", "sid", "user", "ansi", "utf16")
SID = bytes.fromhex("01 01 000000000005 12000000")


def read(text, names, payload, pointer_size=8):
    return Layout(text).reader(pointer_size, names)(bytes.fromhex(payload))


def test_fields_are_packed_and_little_endian():
    values = read(
        "a u8, b u16, c u32, d u64, e ptr", tuple("abcde"), "01 0203 04050607 08090a0b0c0d0e0f" + "1" * 16
    )
    assert values == (0x01, 0x0302, 0x07060504, 0x0F0E0D0C0B0A0908, 0x1111111111111111)


def test_a_pointer_has_as_many_bytes_as_the_events_pointers():
    assert read("p ptr, x u8", ("p", "x"), "01020304 05", pointer_size=4) == (0x04030201, 5)


def test_values_come_in_the_order_in_which_they_are_asked_for():
    assert read("a u8, b u8, c ansi, d u8", ("d", "a", "c"), "01 02 4100 03") == (3, 1, "A")


def test_a_field_that_the_layout_does_not_have_is_none():
    assert read("a u8, c ansi", ("x", "a", "y", "c"), "01 4100") == (None, 1, None, "A")


def test_fields_that_were_not_asked_for_are_stepped_over():
    assert read("a u8, s utf16, i sid, b u16", ("b",), "01 61000000" + SID.hex() + "0203") == (0x0302,)


def test_bytes_behind_the_last_field_do_not_matter():
    assert read("a u8", ("a",), "01 ffff") == (1,)


def test_a_longer_layout_has_the_shorter_one_in_front_and_leaves_it_as_it_was():
    short = Layout("a u8")
    longer = short.then("b u16")
    assert [field.name for field in longer.fields] == ["a", "b"]
    assert [field.name for field in short.fields] == ["a"]


@pytest.mark.parametrize(
    ("text", "payload"),
    [
        ("a u8, b u32", "01 020304"),  # one byte short
        ("a u8, s ansi", "01"),  # nothing where a string begins
        ("a u8, s utf16", "01"),
        ("s ansi, b u32", "4100 010203"),  # one byte short behind a string
        ("i sid", ""),
        ("i sid", "01"),
        ("i sid", "01 01 000000000005 120000"),  # one byte short of its one subauthority
        ("i sid", "02 01 000000000005 12000000"),  # there is only revision 1
        ("i sid", "01 10 000000000005" + "00" * 64),  # more than 15 subauthorities
        ("i user", ""),
        ("i user", "000000"),
        ("i user", "01000000" + "00" * 12),  # a TOKEN_USER and no SID
    ],
)
def test_a_payload_too_short_or_without_sense_is_a_payload_error(text, payload):
    names = tuple(field.name for field in Layout(text).fields)
    with pytest.raises(PayloadError):
        read(text, names, payload)


def test_the_message_names_the_length_of_the_payload_and_the_field():
    with pytest.raises(PayloadError, match=r"payload of 3 bytes where its version has at least 4"):
        read("a u32", ("a",), "010203")
    with pytest.raises(PayloadError, match=r"payload of 4 bytes ends inside its field b"):
        read("s ansi, b u32", ("s", "b"), "4100 0102")


@pytest.mark.parametrize(
    ("payload", "value"),
    [
        ("00000000", None),
        ("00000001 00000000" + "00" * 8 + SID.hex(), SID),
        ("00" * 16 + SID.hex(), SID),
    ],
)
def test_a_user_is_a_sid_behind_a_token_user_or_four_zero_bytes(payload, value):
    assert read("u user, a ansi", ("u", "a"), payload + "4100") == (value, "A")


def test_a_sid_has_15_subauthorities_at_the_most_and_none_at_the_least():
    longest = "01 0f 000000000005" + "11" * 60
    assert read("i sid, a ansi", ("i", "a"), longest + "4100") == (bytes.fromhex(longest), "A")
    shortest = "01 00 000000000005"
    assert read("i sid, a ansi", ("i", "a"), shortest + "4100") == (bytes.fromhex(shortest), "A")


def test_a_token_user_has_8_bytes_in_32_bit_layouts():
    payload = "01000000 00000000" + SID.hex() + "4100"
    assert read("u user, a ansi", ("u", "a"), payload, pointer_size=4) == (SID, "A")


@pytest.mark.parametrize(
    ("payload", "fits"),
    [
        ("01 4100 0203", True),
        ("01 4100 0203 0000000000", True),
        ("01 4100 0203 0001", False),
        ("01 4100 02", False),
        ("01", False),
        ("", False),
    ],
)
def test_a_payload_fits_that_has_all_fields_and_then_only_zeroes(payload, fits):
    assert Layout("a u8, s ansi, b u16").reader(8, ("a",)).fits(bytes.fromhex(payload)) is fits


layouts = st.lists(st.sampled_from(TYPES), min_size=1, max_size=8).map(
    lambda types: ", ".join(f"f{number} {type_}" for number, type_ in enumerate(types))
)
likely_bytes = st.lists(
    st.one_of(st.binary(max_size=8), st.just(SID), st.just(bytes(8)), st.just(b"a\0b\0\0\0")), max_size=8
).map(b"".join)


@given(layouts, likely_bytes, st.sampled_from([4, 8]), st.data())
def test_any_payload_is_read_or_is_a_payload_error(text, payload, pointer_size, data):
    layout = Layout(text)
    names = [field.name for field in layout.fields]
    chosen = tuple(data.draw(st.lists(st.sampled_from(names), unique=True)))
    reader = layout.reader(pointer_size, chosen)
    try:
        values = reader(payload)
    except PayloadError:
        assert not reader.fits(payload)
    else:
        assert len(values) == len(chosen)


@given(layouts, likely_bytes, st.sampled_from([4, 8]))
def test_a_field_has_the_same_value_whichever_others_are_read_with_it(text, payload, pointer_size):
    layout = Layout(text)
    names = tuple(field.name for field in layout.fields)
    try:
        everything = layout.reader(pointer_size, names)(payload)
    except PayloadError:
        return
    for name, value in zip(names, everything, strict=True):
        assert layout.reader(pointer_size, (name,))(payload) == (value,)


def test_the_process_id_of_an_image_event_is_where_its_reader_looks_in_every_version():
    classic = [layout for event in system_trace.EVENTS[IMAGE].values() for layout in event.layouts[1:]]
    manifest = [layout for event_id in (5, 6) for layout in kernel_process.EVENTS[event_id].layouts]
    for layout in (*classic, *manifest):
        name = next(field.name for field in layout.fields if field.name.lower() == "processid")
        for pointer_size in (4, 8):
            payload = layout.pack(pointer_size, {name: 0x1234})
            assert IMAGE_PIDS[pointer_size](payload) == (0x1234,)
