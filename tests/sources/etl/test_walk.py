"""The walk over records: what it counts, finds and calls broken, by single steps and in step."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etwdetect.sources.etl import walk as walk_module
from etwdetect.sources.etl.walk import Span, Wanted, walk
from tests.bytes_by_hand import (
    KERNEL_PROCESS,
    SOME_OTHER_PROVIDER,
    THREAD,
    compact_record,
    event_header_record,
    full_record,
    padded,
    perfinfo_record,
    system_record,
)

THREAD_START_HOOK = 0x0501
WANTED = Wanted([THREAD_START_HOOK], [KERNEL_PROCESS, THREAD], aside=[0x0502])
FILL = b"\xff" * 8

MESSAGE = bytes.fromhex("1400 07 90 00000000 00000000 00000000 00000000 00000000")  # 20 bytes and padding
INSTANCE = bytes.fromhex("3800 15 c0") + b"\xee" * 52
A_RECORD = system_record(THREAD_START_HOOK, b"payload!")  # 40 bytes


class Window:
    """Buffers' bodies one after the other, each on a multiple of 8, in a window as the reader has it."""

    def __init__(self, bodies):
        self.spans = []
        self.data = bytearray()
        for body in bodies:
            self.spans.append(Span(len(self.data), len(self.data) + len(body)))
            self.data += padded(bytes(body))
        self.data += b"\xc3" * 64  # what an earlier window left behind

    def walk(self, *, wide, narrow=1, wanted=WANTED):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(walk_module, "WIDE", wide)
            patch.setattr(walk_module, "NARROW", narrow)
            return walk(self.data, self.spans, wanted)

    def by_single_steps(self, wanted=WANTED):
        return self.walk(wide=sys.maxsize, wanted=wanted)


@pytest.fixture(params=["single-steps", "in-step"])
def walked(request):
    """Walk some bodies by one of the two ways."""

    def way(*bodies, wanted=WANTED):
        wide = sys.maxsize if request.param == "single-steps" else 1
        return Window(bodies).walk(wide=wide, wanted=wanted)

    return way


@pytest.mark.parametrize(
    "record",
    [
        *(pytest.param(system_record(9, b"x" * 9, header_type=kind), id=f"{kind:#x}") for kind in (1, 2)),
        *(pytest.param(compact_record(9, b"x" * 9, header_type=kind), id=f"{kind:#x}") for kind in (3, 4)),
        *(pytest.param(perfinfo_record(9, b"x" * 9, header_type=kind), id=f"{kind:#x}") for kind in (16, 17)),
        *(
            pytest.param(full_record(SOME_OTHER_PROVIDER, 1, b"x" * 9, header_type=kind), id=f"{kind:#x}")
            for kind in (0x0A, 0x14)
        ),
        *(
            pytest.param(event_header_record(SOME_OTHER_PROVIDER, 1, b"x" * 9, header_type=kind), id=f"{kind:#x}")
            for kind in (0x12, 0x13)
        ),
        pytest.param(INSTANCE, id="0x15"),
        pytest.param(INSTANCE[:2] + b"\x0b" + INSTANCE[3:], id="0xb"),
        pytest.param(MESSAGE, id="message"),
    ],
)
def test_a_record_of_every_header_type_is_stepped_over_to_the_next(walked, record):
    result = walked(record + A_RECORD, record + record)
    assert (result.records, result.found, result.broken) == (4, [len(record)], [])


@pytest.mark.parametrize("flags", [0x80, 0xC0, 0xE0])
def test_the_flags_above_the_header_type_do_not_matter(walked, flags):
    record = bytearray(A_RECORD)
    record[3] = flags
    assert walked(record).found == [0]


def test_kernel_records_are_found_by_hook_id(walked):
    records = [
        make(hook) for make in (system_record, compact_record, perfinfo_record) for hook in (0x0501, 0x0502)
    ]
    assert walked(b"".join(records)).found == [0, 64, 112]


def test_kernel_records_to_be_put_aside_are_not_among_the_found(walked):
    aside = system_record(0x1403, b"an image")
    result = walked(A_RECORD + aside, aside, wanted=Wanted([THREAD_START_HOOK], [], aside=[0x1403]))
    assert (result.found, result.aside, result.records) == ([0], [40, 80], 3)


def test_other_records_are_found_by_provider_or_class(walked):
    bodies = [
        event_header_record(KERNEL_PROCESS, 3),
        event_header_record(SOME_OTHER_PROVIDER, 3),
        full_record(THREAD, 1),
        full_record(SOME_OTHER_PROVIDER, 1),
    ]
    assert walked(b"".join(bodies)).found == [0, 160]


def test_a_record_that_has_no_provider_is_not_found_by_bytes_that_look_like_one(walked):
    instance = INSTANCE[:24] + KERNEL_PROCESS + INSTANCE[40:]
    message = bytes.fromhex("3000 07 90 00000000") + bytes(16) + KERNEL_PROCESS + bytes(8)
    hooked = system_record(9, KERNEL_PROCESS[8:] + KERNEL_PROCESS)
    assert walked(instance + message + hooked).found == []


def test_what_looks_like_a_record_inside_of_a_payload_is_none(walked):
    outer = event_header_record(SOME_OTHER_PROVIDER, 1, A_RECORD + A_RECORD)
    result = walked(outer + A_RECORD)
    assert (result.records, result.found) == (2, [len(outer)])


def test_nothing_wanted_finds_nothing(walked):
    result = walked(A_RECORD + event_header_record(KERNEL_PROCESS, 3), wanted=Wanted([], []))
    assert (result.records, result.found) == (2, [])


def test_an_empty_buffer_has_no_records(walked):
    result = walked(b"", A_RECORD, b"", b"")
    assert (result.records, result.found, result.broken) == (1, [0], [])


@pytest.mark.parametrize("room", range(8))
def test_fewer_than_8_bytes_at_the_end_of_a_buffer_are_not_a_record(walked, room):
    result = walked(A_RECORD + b"\x77" * room, A_RECORD)
    assert (result.records, result.broken) == (2, [])


def test_a_record_may_end_at_a_buffers_unaligned_end(walked):
    result = walked(A_RECORD + system_record(9, b"abc")[:35], A_RECORD)
    assert (result.records, result.broken) == (3, [])


@pytest.mark.parametrize("room", [8, 4096, 0xFFFF, 0x10000, 0x20000])
def test_the_fill_behind_the_last_record_ends_a_buffer_however_much_there_is(walked, room):
    result = walked(A_RECORD + b"\xff" * room, A_RECORD)
    assert (result.records, result.found, result.broken) == (2, [0, len(A_RECORD) + room + -room % 8], [])


BROKEN = [
    pytest.param("0000 02c0 0000 0105", "a record of 0 bytes is smaller than its header", id="size 0"),
    pytest.param("0000 13c0 0000 0000", "a record of 0 bytes is smaller than its header", id="named, size 0"),
    pytest.param("0000 02c0 1f00 0105", "a record of 31 bytes is smaller than its header", id="31 of 32"),
    pytest.param("0000 04c0 1700 0105", "a record of 23 bytes is smaller than its header", id="23 of 24"),
    pytest.param("0000 11c0 0f00 0105", "a record of 15 bytes is smaller than its header", id="15 of 16"),
    pytest.param("2f00 14c0 0000 0000", "a record of 47 bytes is smaller than its header", id="47 of 48"),
    pytest.param("4f00 13c0 0000 0000", "a record of 79 bytes is smaller than its header", id="79 of 80"),
    pytest.param("3700 15c0 0000 0000", "a record of 55 bytes is smaller than its header", id="55 of 56"),
    pytest.param("0700 0790 0000 0000", "a record of 7 bytes is smaller than its header", id="7 of 8"),
    pytest.param(
        "0000 02c0 6100 0105",
        "a record of 97 bytes exceeds the 96 bytes left in its buffer",
        id="one byte past the end",
    ),
    pytest.param(
        "ffff 13c0 0000 0000",
        "a record of 65535 bytes exceeds the 96 bytes left in its buffer",
        id="far past the end",
    ),
    pytest.param("4000 05c0 4000 0000", "no record type has the marker 0xc005", id="unknown type"),
    pytest.param("4000 0240 4000 0105", "no record type has the marker 0x4002", id="no marker flag"),
    pytest.param("0000 0000 0000 0000", "no record type has the marker 0x0000", id="zeroes"),
]


@pytest.mark.parametrize(("start", "fault"), BROKEN)
def test_a_record_that_cannot_be_breaks_its_buffer_and_no_other(walked, start, fault):
    body = A_RECORD + bytes.fromhex(start) + bytes(88)
    result = walked(A_RECORD, body, A_RECORD)
    assert result.broken == [(80, fault)]
    assert (result.records, result.found) == (3, [0, 40, 176])


def test_found_and_broken_are_in_ascending_order(walked):
    result = walked(A_RECORD * 3, A_RECORD + bytes(8), A_RECORD[:35], A_RECORD * 2 + bytes(8), A_RECORD * 5)
    assert result.found == sorted(result.found)
    assert len(result.found) == 11
    assert [at for at, _ in result.broken] == [160, 168, 288]


# -- the two ways against each other

records = st.one_of(
    st.builds(
        lambda make, hook, payload: make(hook, payload),
        st.sampled_from([system_record, compact_record, perfinfo_record]),
        st.sampled_from([0x0501, 0x0502]),
        st.binary(max_size=40),
    ),
    st.builds(
        lambda make, provider, payload: make(provider, 3, payload),
        st.sampled_from([event_header_record, full_record]),
        st.sampled_from([KERNEL_PROCESS, SOME_OTHER_PROVIDER, THREAD]),
        st.binary(max_size=40),
    ),
    st.sampled_from([INSTANCE, MESSAGE, FILL, bytes(8), b"\xc0\xff\xee"]),
)


@st.composite
def damaged(draw):
    """A valid buffer's body in which some bytes are others, possibly cut short."""
    body = bytearray(b"".join(draw(st.lists(records, max_size=8))))
    if body:
        for at, value in draw(st.lists(st.tuples(st.integers(0, len(body) - 1), st.integers(0, 255)), max_size=3)):
            body[at] = value
    return body[: draw(st.integers(0, len(body)))] if draw(st.booleans()) else body


bodies = st.lists(st.one_of(damaged(), st.binary(max_size=200)), min_size=1, max_size=12)


@given(bodies, st.integers(1, 6))
def test_the_walk_in_step_sees_just_what_single_steps_see(bodies, narrow):
    window = Window(bodies)
    assert window.walk(wide=1, narrow=narrow) == window.by_single_steps()


@given(bodies)
def test_a_buffer_is_judged_by_its_own_bytes_alone(bodies):
    together = Window(bodies)
    alone = [Window([body]).by_single_steps() for body in bodies]
    expected = [
        (sum(one.records for one in alone)),
        [span.start + at for span, one in zip(together.spans, alone, strict=True) for at in one.found],
        [
            (span.start + at, why)
            for span, one in zip(together.spans, alone, strict=True)
            for at, why in one.broken
        ],
    ]
    result = together.walk(wide=1)
    assert [result.records, result.found, result.broken] == expected


def test_as_many_buffers_as_a_large_trace_has_are_walked_alike():
    window = Window([A_RECORD * (number % 7) + MESSAGE * (number % 3) for number in range(300)])
    in_step = walk(window.data, window.spans, WANTED)
    assert in_step == window.by_single_steps()
    assert len(in_step.found) == sum(number % 7 for number in range(300))
