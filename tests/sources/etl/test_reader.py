"""The reader: whole files, plain and compressed, damaged in every way, and what it says of the damage."""

import io
from struct import pack_into

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etwdetect.core.errors import NotATraceError
from etwdetect.core.raw import RawEvent
from etwdetect.sources.decode import Decoder
from etwdetect.sources.etl import reader
from etwdetect.sources.etl.compression import compress
from etwdetect.sources.etl.reader import Trace
from etwdetect.sources.etl.walk import Wanted
from tests.bytes_by_hand import (
    ANCHOR,
    KERNEL_PROCESS,
    NOBODY,
    SOME_OTHER_PROVIDER,
    START_TIME,
    THREAD,
    buffer,
    buffer_header,
    compact_record,
    compressed_buffer,
    event_header_record,
    extended_item,
    first_buffer,
    full_record,
    logfile_payload,
    perfinfo_record,
    process_start,
    system_record,
    thread_start,
    thread_start_payload,
)

WANTED = Wanted([0x0501], [KERNEL_PROCESS, THREAD])
COMPRESSED_MODE = 0x0400_0000
METHODS = pytest.mark.parametrize("method", [2, 3, 4], ids=["lznt1", "xpress", "huffman"])

ONE = thread_start((10, 11), 20, 21, time=ANCHOR + 1)
TWO = thread_start((30, 31), 40, 41, time=ANCHOR + 2)
THREE = thread_start((50, 51), 60, 61, time=ANCHOR + 3)
FIRST = first_buffer(buffers_written=0)
COMPRESSED_FIRST = first_buffer(mode=COMPRESSED_MODE, state=3)


class Reading:
    """A whole trace read: its events, its damage, and itself."""

    def __init__(self, data, file=io.BytesIO, wanted=WANTED):
        self.trace = Trace(file(data), "some.etl")
        self.events = list(self.trace.records(wanted))
        self.damages = [(damage.offset, damage.what) for damage in self.trace.damages.described]

    @property
    def creators(self):
        return [event.pid for event in self.events]


def undamaged(*buffers):
    reading = Reading(b"".join(buffers))
    assert reading.damages == []
    return reading


def packed(*records, method=3, **header):
    body = b"".join(records)
    return compressed_buffer(compress(body, method), len(body), **header)


# -- what is read


def test_an_event_carries_its_filetime_its_header_and_its_place_in_the_file():
    (event,) = undamaged(FIRST, buffer(event_header_record(SOME_OTHER_PROVIDER, 1), ONE)).events
    assert event == RawEvent(
        KERNEL_PROCESS, 3, 1, 0, START_TIME + 1, 10, 11, 8, thread_start_payload(20, 21), 4096 + 0x48 + 80
    )


def test_records_behind_the_logfile_header_in_the_first_buffer_are_read():
    assert undamaged(first_buffer(ONE)).creators == [10]


def test_buffers_are_read_in_the_order_of_the_file():
    assert undamaged(FIRST, buffer(THREE, cpu=1), buffer(ONE, TWO), buffer()).creators == [50, 10, 30]


def test_all_records_are_counted_and_the_wanted_ones_handed_on():
    reading = undamaged(FIRST, buffer(ONE, system_record(0x0F33), TWO), buffer(full_record(THREAD, 1)))
    assert reading.trace.events_read == 1 + 3 + 1
    assert len(reading.events) == 3


def test_the_whole_file_is_read():
    data = FIRST + buffer(ONE) + buffer(TWO)
    trace = undamaged(data).trace
    assert trace.bytes_read == trace.size == len(data)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (system_record(0x0501, b"pl", version=3, pid=1, tid=2), (THREAD, 0, 3, 1, START_TIME, 1, 2, 8, b"pl")),
        (compact_record(0x0501, b"pl", version=3, pid=1, tid=2), (THREAD, 0, 3, 1, START_TIME, 1, 2, 8, b"pl")),
        (perfinfo_record(0x0501, b"pl", version=3), (THREAD, 0, 3, 1, START_TIME, NOBODY, NOBODY, 8, b"pl")),
        (full_record(THREAD, 1, b"pl", version=3, pid=1, tid=2), (THREAD, 0, 3, 1, START_TIME, 1, 2, 8, b"pl")),
        (
            event_header_record(KERNEL_PROCESS, 3, b"pl", version=1, pid=1, tid=2),
            (KERNEL_PROCESS, 3, 1, 0, START_TIME, 1, 2, 8, b"pl"),
        ),
    ],
    ids=["system", "compact", "perfinfo", "full", "event"],
)
def test_records_of_every_header_type_are_read(record, expected):
    (event,) = undamaged(FIRST, buffer(record)).events
    assert event[:9] == expected


@pytest.mark.parametrize("pointer_size", [4, 8])
def test_a_logfile_header_of_either_pointer_size_is_read(pointer_size):
    header_type = {4: 0x01, 8: 0x02}[pointer_size]
    trace = undamaged(first_buffer(pointer_size=pointer_size, header_type=header_type, events_lost=3)).trace
    assert (trace.header.pointer_size, trace.header.events_lost) == (pointer_size, 3)


@pytest.mark.parametrize("written", [0, 1, 3])
def test_fewer_written_buffers_than_there_are_keep_none_from_being_read(written):
    assert undamaged(first_buffer(buffers_written=written), buffer(ONE), buffer(TWO)).creators == [10, 30]


@METHODS
def test_compressed_buffers_are_read_in_each_format(method):
    first = first_buffer(mode=COMPRESSED_MODE, state=method)
    reading = undamaged(first, packed(ONE, TWO, method=method), packed(THREE, method=method))
    assert reading.creators == [10, 30, 50]


def test_an_event_of_a_compressed_buffer_has_its_buffers_place():
    second = packed(ONE)
    reading = undamaged(COMPRESSED_FIRST, second, packed(TWO))
    assert [event.offset for event in reading.events] == [4096, 4096 + len(second)]


def test_buffers_may_begin_anywhere():
    sizes = [len(packed(ONE, bytes(0))), 4096 + 1, 4096 + 5]
    data = packed(ONE), buffer(TWO, size=sizes[1]), buffer(THREE, size=sizes[2]), packed(ONE)
    assert {sum(map(len, data[:end])) % 8 for end in range(1, 4)} != {0}
    assert undamaged(COMPRESSED_FIRST, *data).creators == [10, 30, 50, 10]


def test_plain_and_compressed_buffers_may_stand_side_by_side():
    assert undamaged(COMPRESSED_FIRST, buffer(ONE), packed(TWO), buffer(THREE)).creators == [10, 30, 50]


def test_buffers_flagged_as_following_a_loss_are_counted():
    data = buffer(ONE, flags=0x2), buffer(flags=0x4), buffer(flags=0x6), packed(TWO, flags=0x2), buffer(flags=0x1)
    reading = undamaged(COMPRESSED_FIRST, *data)
    assert (reading.trace.loss_marks, reading.creators) == (4, [10, 30])


@pytest.mark.parametrize("window", [1, 600, 5000])
def test_the_size_of_the_window_changes_nothing(monkeypatch, window):
    data = first_buffer(ONE, mode=COMPRESSED_MODE, state=3) + b"".join(
        [packed(TWO, bytes(8)), buffer(THREE, ONE, TWO), buffer(*[ONE] * 20), packed(*[TWO] * 9), buffer(bytes(8))]
    )
    whole = Reading(data)
    monkeypatch.setattr("etwdetect.sources.etl.window.WINDOW", window)
    piecewise = Reading(data)
    assert len(whole.events) == 34
    assert piecewise.events == whole.events
    assert sorted(piecewise.damages) == sorted(whole.damages)
    assert len(whole.damages) == 2


def test_events_are_handed_on_before_the_next_window_is_read(monkeypatch):
    """Memory is bounded by the window: a file is never held as a whole."""
    monkeypatch.setattr("etwdetect.sources.etl.window.WINDOW", 1000)
    trace = Trace(io.BytesIO(FIRST + buffer(ONE) + buffer(TWO) * 50), "some.etl")
    events = trace.records(WANTED)
    assert next(events).pid == 10
    assert trace.bytes_read < 4096 * 20
    assert len(list(events)) == 50


def test_unused_space_at_the_end_of_a_log_is_no_damage():
    assert undamaged(FIRST, buffer(ONE), bytes(4096 * 3)).creators == [10]


# -- what is no trace


def changed(data, offset, value):
    data = bytearray(data)
    pack_into("<I", data, offset, value)
    return bytes(data)


RECORD_AT = 0x48
LOGFILE_AT = RECORD_AT + 32

NO_TRACES = [
    pytest.param(b"", "is empty", None, id="empty"),
    pytest.param(b"ElfFile\0" + bytes(5000), "is an event log (.evtx), not a trace (.etl)", None, id="evtx"),
    pytest.param(b"ElfFile\0", "is an event log (.evtx), not a trace (.etl)", None, id="a short evtx"),
    pytest.param(
        b"no", "is not a trace: it is shorter than one buffer's header", None, id="shorter than a header"
    ),
    pytest.param(
        b"Dear reader, this is a text, and a long one at that. " * 99,
        f"is not a trace: invalid buffer size of {int.from_bytes(b'Dear', 'little')} bytes",
        0,
        id="text",
    ),
    pytest.param(bytes(9000), "is not a trace: invalid buffer size of 0 bytes", 0, id="zeroes"),
    pytest.param(packed(ONE), "is not a trace: its first buffer is compressed", 0, id="first buffer compressed"),
    pytest.param(buffer_header(4096, 4096), "is cut short inside its first record", 0x48, id="header alone"),
    pytest.param(FIRST[:0x48] + FIRST[0x48:][:31], "is cut short inside its first record", 0x67, id="31 bytes"),
    pytest.param(
        buffer(ONE), "is not a trace: its first record is not a logfile header", 0x48, id="another event first"
    ),
    pytest.param(
        buffer(system_record(0x0501, bytes(300))),
        "is not a trace: its first record is not a logfile header",
        0x48,
        id="another hook first",
    ),
    pytest.param(
        buffer(system_record(0, logfile_payload()[:100])),
        "is not a trace: the logfile header is cut short",
        0x48,
        id="a small logfile header",
    ),
    pytest.param(FIRST[:0x100], "is not a trace: the logfile header is cut short", 0x48, id="a truncated one"),
    pytest.param(
        changed(FIRST, RECORD_AT + 4, 0), "is not a trace: the logfile header is cut short", 0x48, id="size 0"
    ),
    pytest.param(
        changed(FIRST, LOGFILE_AT + 0x2C, 5),
        "is not a trace: the logfile header has an invalid pointer size of 5 bytes",
        0x48,
        id="pointer size",
    ),
    pytest.param(first_buffer(clock=9), "the logfile header has an unknown clock type, 9", 0x48, id="clock"),
    pytest.param(
        first_buffer(perf_freq=0), "the logfile header has an invalid clock frequency of 0", 0x48, id="frequency"
    ),
]


@pytest.mark.parametrize(("data", "why", "offset"), NO_TRACES)
def test_what_is_no_trace_is_an_error_that_says_why_and_where(data, why, offset):
    with pytest.raises(NotATraceError) as error:
        Trace(io.BytesIO(data), "some.etl")
    assert str(error.value) == f"some.etl: {why}" + ("" if offset is None else f" at offset {offset:#x}")
    assert (error.value.name, error.value.offset) == ("some.etl", offset)


# -- damage


@pytest.mark.parametrize(
    ("head", "fault"),
    [
        (bytes(0x48), "unused space between buffers"),
        (b"\xff" * 0x48, "invalid buffer size of 4294967295 bytes"),
        (buffer_header(16, 0x48), "invalid buffer size of 16 bytes"),
        (buffer_header(4096, 5000), "a buffer of 4096 bytes cannot hold 5000"),
        (buffer_header(4096, 9), "invalid buffer fill of 9 bytes"),
    ],
    ids=["zeroes", "ones", "too small", "overfull", "underfull"],
)
def test_a_damaged_buffer_header_costs_that_buffer_alone(head, fault):
    damaged = head + buffer(TWO)[0x48:]
    reading = Reading(FIRST + buffer(ONE) + damaged + buffer(THREE))
    assert reading.creators == [10, 50]
    assert reading.damages == [(8192, fault)]


def test_damaged_buffers_in_a_row_are_one_place_of_damage():
    reading = Reading(FIRST + b"\xff" * 4096 * 5 + buffer(ONE) + b"\xee" * 4096 + buffer(TWO))
    assert reading.creators == [10, 30]
    assert [offset for offset, _ in reading.damages] == [4096, 4096 * 7]


def test_damage_at_the_end_of_a_file_is_told_too():
    reading = Reading(FIRST + buffer(ONE) + b"\xff" * 8192)
    assert reading.damages == [(8192, "invalid buffer size of 4294967295 bytes")]


def test_behind_a_damaged_header_among_buffers_of_any_size_nothing_is_read():
    data = COMPRESSED_FIRST + packed(ONE)
    reading = Reading(data + bytes(100) + packed(TWO))
    left = 100 + len(packed(TWO))
    assert reading.creators == [10]
    assert reading.damages == [
        (len(data), f"invalid buffer size of 0 bytes; the {left} bytes from there on are not read")
    ]


def test_a_buffer_size_of_the_logfile_header_that_cannot_be_is_no_stride():
    reading = Reading(first_buffer(buffer_size=0) + bytes(4096) + buffer(ONE))
    assert reading.creators == []
    assert reading.damages == [(4096, "invalid buffer size of 0 bytes; the 8192 bytes from there on are not read")]


@pytest.mark.parametrize("room", [1, 0x47])
def test_a_file_that_ends_inside_a_buffers_header_says_so(room):
    reading = Reading(FIRST + buffer(ONE) + buffer(TWO)[:room])
    assert reading.creators == [10]
    assert reading.damages == [(8192, "the file ends inside a buffer's header")]


def test_of_a_plain_buffer_that_is_cut_short_the_whole_records_are_read():
    cut = 0x48 + len(ONE) + 20
    reading = Reading(FIRST + buffer(ONE, TWO)[:cut])
    assert reading.creators == [10]
    assert [offset for offset, _ in reading.damages] == [4096 + cut, 4096 + 0x48 + len(ONE)]
    assert reading.damages[0][1] == "the file ends inside the buffer at offset 0x1000"


def test_a_compressed_buffer_that_is_cut_short_is_left_out():
    reading = Reading(COMPRESSED_FIRST + packed(ONE) + packed(TWO)[:-1])
    assert reading.creators == [10]
    where = 4096 + len(packed(ONE))
    assert reading.damages == [(where, "the file ends inside this compressed buffer; the buffer is left out")]


@pytest.mark.parametrize("method", [2, 3], ids=["lznt1", "xpress"])
def test_a_compressed_buffer_that_lies_about_its_length_is_left_out(method):
    data = compress(ONE, method)
    reading = Reading(
        first_buffer(mode=COMPRESSED_MODE, state=method)
        + compressed_buffer(data, len(ONE) + 800)
        + packed(TWO, method=method)
    )
    assert reading.creators == [30]
    ((offset, what),) = reading.damages
    assert offset == 4096
    assert (
        what == f"compressed data decoded to {len(ONE)} bytes instead of {len(ONE) + 800}; the buffer is left out"
    )


def test_a_huffman_buffer_that_lies_about_its_length_gives_its_records_and_is_told_as_damaged():
    """Its decompression can't tell; the records do."""
    first = first_buffer(mode=COMPRESSED_MODE, state=4)
    reading = Reading(first + compressed_buffer(compress(ONE, 4), len(ONE) + 800) + packed(TWO, method=4))
    assert reading.creators == [10, 30]
    ((offset, what),) = reading.damages
    assert offset == 4096
    assert what.startswith("no record type has the marker 0x0000; the rest of the buffer is left out")


def test_a_compressed_buffer_that_claims_more_than_a_buffer_of_its_trace_holds_is_not_decompressed():
    first = first_buffer(mode=COMPRESSED_MODE, state=3, buffer_size=4096)
    reading = Reading(first + compressed_buffer(compress(ONE, 3), 4096 - 0x48 + 1))
    assert reading.creators == []
    ((offset, what),) = reading.damages
    assert offset == 4096
    assert what.startswith("a compressed buffer cannot hold 4097 bytes in this trace")


@pytest.mark.parametrize("state", [0, 1, 5])
def test_a_compression_format_that_is_not_known_is_named(state):
    reading = Reading(first_buffer(mode=COMPRESSED_MODE, state=state) + packed(ONE))
    assert reading.damages == [(4096, f"unknown compression format {state}; the buffer is left out")]


def test_the_compression_format_is_in_the_low_half_of_the_first_buffers_state():
    first = first_buffer(mode=COMPRESSED_MODE, state=0x5555_0003)
    assert undamaged(first, packed(ONE)).creators == [10]


def test_a_broken_record_costs_the_rest_of_its_buffer():
    broken = system_record(0x0501)[:4] + bytes(28)
    reading = Reading(FIRST + buffer(ONE, broken, TWO) + buffer(THREE))
    assert reading.creators == [10, 50]
    assert reading.damages == [
        (
            4096 + 0x48 + len(ONE),
            "a record of 0 bytes is smaller than its header; the rest of the buffer is left out",
        )
    ]


def test_in_a_compressed_buffer_damage_is_told_by_the_buffer_and_the_place_inside():
    reading = Reading(COMPRESSED_FIRST + packed(ONE, bytes(16)))
    assert reading.creators == [10]
    ((offset, what),) = reading.damages
    assert offset == 4096
    assert what.endswith(f"the rest of the buffer is left out, {len(ONE):#x} bytes into the decompressed buffer")


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (
            event_header_record(KERNEL_PROCESS, 3, extended=extended_item(b"", more=True, whole=0)),
            "a record's extended items are inconsistent",
        ),
        (full_record(THREAD, 1, time=-(1 << 62)), "a record's time stamp is out of range"),
    ],
    ids=["extended items", "time"],
)
def test_a_record_that_cannot_be_read_costs_itself_alone(record, why):
    reading = Reading(FIRST + buffer(ONE, record, TWO))
    assert reading.creators == [10, 30]
    assert reading.damages == [(4096 + 0x48 + len(ONE), f"{why}; the record is left out")]


def test_of_many_places_of_damage_all_are_counted_and_the_first_described():
    reading = Reading(FIRST + b"".join(buffer(ONE, bytes(8)) for _ in range(250)))
    assert reading.trace.damages.count == 250
    assert [offset for offset, _ in reading.damages] == [4096 * n + 0x48 + len(ONE) for n in range(1, 101)]
    assert len(reading.events) == 250


class Vanishing(io.BytesIO):
    """A file on a share that goes away behind its 8,192nd byte."""

    def read(self, size=-1):
        if self.tell() >= 8192:
            raise OSError(5, "Input/output error")
        return super().read(size)

    def readinto(self, room):
        if self.tell() >= 8192:
            raise OSError(5, "Input/output error")
        return super().readinto(room)


def test_a_file_that_can_no_longer_be_read_ends_there_and_says_so():
    reading = Reading(FIRST + buffer(ONE) + buffer(TWO) + buffer(THREE), file=Vanishing)
    assert reading.creators == [10]
    assert (8192, "the file cannot be read: Input/output error") in reading.damages


# -- any damage at all

PLAIN_FILE = FIRST + b"".join(
    [
        buffer(process_start((1, 2), 3), ONE, system_record(0x0501, bytes(40)), size=1024),
        buffer(
            TWO,
            event_header_record(KERNEL_PROCESS, 1, bytes(30), extended=extended_item(b"abc")),
            perfinfo_record(0x0303, bytes(50)),
            size=1024,
        ),
        buffer(THREE, full_record(THREAD, 1, bytes(60)), compact_record(0x0501, bytes(50)), size=1024),
    ]
)
COMPRESSED_FILES = [
    first_buffer(ONE, mode=COMPRESSED_MODE, state=method)
    + packed(ONE, process_start((1, 2), 3), method=method)
    + packed(TWO, full_record(THREAD, 1, bytes(60)), method=method)
    for method in (2, 3, 4)
]
FILES = [PLAIN_FILE, *COMPRESSED_FILES]


@st.composite
def mutated(draw):
    """A valid file in which bytes were changed, put in or cut out, preferably where it matters."""
    data = bytearray(draw(st.sampled_from(FILES)))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.one_of(st.integers(0, 0x1A0), st.integers(4096, max(4096, len(data)))))
        new = draw(
            st.one_of(st.binary(min_size=1, max_size=8), st.sampled_from([bytes(4), b"\xff" * 4, b"\x48\0"]))
        )
        gone = draw(st.sampled_from([len(new), len(new), len(new), 0, len(new) + 8]))
        data[at : at + gone] = new
    return bytes(data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data)


@given(mutated())
def test_a_mutated_trace_is_read_to_its_end_or_is_no_trace(data):
    complaints = []
    decoder = Decoder(lambda *complaint: complaints.append(complaint), images=True)
    try:
        trace = Trace(io.BytesIO(data), "some.etl")
    except NotATraceError:
        return
    for event in trace.records(WANTED):
        decoder.decode(event)
    assert trace.bytes_read <= trace.size == len(data)
    assert len(trace.damages.described) == min(trace.damages.count, reader.MOST_DAMAGES_KEPT)
    assert all(0 <= offset <= len(data) and what for offset, what in trace.damages.described)


@given(st.sampled_from(FILES), st.data())
def test_a_trace_that_is_cut_gives_what_stood_before_the_cut_and_says_so(data, draw):
    whole = Reading(data).events
    cut = draw.draw(st.integers(0, len(data) - 1))
    try:
        reading = Reading(data[:cut])
    except NotATraceError:
        assert cut < 4096
        return
    assert reading.events == whole[: len(reading.events)]
    ends = {sum(sizes) for sizes in buffer_ends(data)}
    assert bool(reading.damages) == (cut not in ends)


def buffer_ends(data):
    """The sizes of the first buffer, the first two, and so on."""
    sizes = []
    while sum(sizes) < len(data):
        at = sum(sizes)
        sizes.append(int.from_bytes(data[at : at + 4], "little"))
        yield list(sizes)


@given(st.binary(max_size=400))
def test_any_bytes_are_no_trace(data):
    with pytest.raises(NotATraceError, match=r"some\.etl: "):
        Trace(io.BytesIO(data), "some.etl")
