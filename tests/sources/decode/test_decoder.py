"""The decoder: which events it knows, what it counts, and what it makes of those that are damaged."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etwdetect.core.errors import PayloadError
from etwdetect.core.events import Loss, ProcessRundown, ProcessStart, ProcessStop, ThreadStart
from etwdetect.core.raw import SYSTEM_CONFIG, SYSTEM_CONFIG_EX, RawEvent
from etwdetect.core.rule import RemoteThreadRule
from etwdetect.sources.decode import Decoder, classic_opcodes, kernel_process, system_trace
from tests.bytes_by_hand import (
    IMAGE,
    KERNEL_PROCESS,
    LOST_EVENTS,
    PROCESS,
    SOME_OTHER_PROVIDER,
    THREAD,
    thread_start_payload,
    u32,
    u64,
    utf16,
)

TIME = 133_000_000_000_000_000
OFFSET = 0x1234


def raw(provider, number, version=0, payload=b"", pointer_size=8):
    event_id, opcode = (number, 0) if provider == KERNEL_PROCESS else (0, number)
    return RawEvent(provider, event_id, version, opcode, TIME, 111, 222, pointer_size, payload, OFFSET)


class Decoding:
    def __init__(self, *, images=False):
        self.complaints = []
        self.decoder = Decoder(lambda *complaint: self.complaints.append(complaint), images=images)

    def __call__(self, *args, **kwargs):
        return self.decoder.decode(raw(*args, **kwargs))


@pytest.fixture
def decode():
    return Decoding()


START_V0 = u32(9320) + u64(0) + u32(7000) + u32(3) + utf16("a.exe")


def test_events_are_counted_by_kind(decode):
    decode(KERNEL_PROCESS, 1, 0, START_V0)
    decode(KERNEL_PROCESS, 1, 0, START_V0)
    decode(THREAD, 2, 1, u32(1) + u32(2))
    assert decode.decoder.counts == Counter(ProcessStart=2, ThreadStop=1)


@pytest.mark.parametrize(
    ("provider", "number"),
    [(KERNEL_PROCESS, 7), (KERNEL_PROCESS, 0), (PROCESS, 5), (THREAD, 39), (SOME_OTHER_PROVIDER, 1)],
)
def test_other_events_are_none_of_ours_and_not_counted(decode, provider, number):
    assert decode(provider, number, 0, bytes(200)) is None
    assert (decode.decoder.counts, decode.complaints) == (Counter(), [])


def test_an_opcode_of_a_manifest_event_is_no_classic_opcode(decode):
    event = RawEvent(KERNEL_PROCESS, 7, 0, 1, TIME, 1, 2, 8, START_V0)
    assert decode.decoder.decode(event) is None


def test_images_are_counted_but_only_decoded_where_wanted(decode):
    payload = u64(1) + u64(2) + u32(3) + u32(4) + u32(5) + u64(6) + utf16("a.dll")
    assert decode(KERNEL_PROCESS, 5, 0, payload) is None
    assert decode.decoder.counts == Counter(ImageLoad=1)
    assert Decoding(images=True)(KERNEL_PROCESS, 5, 0, payload).image == "a.dll"


@pytest.mark.parametrize(("opcode", "loss"), [(32, (1, 0)), (33, (0, 1)), (34, (0, 1)), (0, (1, 0))])
def test_a_record_of_a_loss_is_at_least_one_event_or_buffer(decode, opcode, loss):
    assert decode(LOST_EVENTS, opcode) == Loss(TIME, *loss)
    assert decode.decoder.counts == Counter(LostEvents=1)


def test_classic_opcodes_are_those_of_processes_threads_and_the_machine_and_images_on_demand():
    without = {PROCESS: {1, 2, 3, 4, 39}, THREAD: {1, 2, 3, 4}, SYSTEM_CONFIG: {10}, SYSTEM_CONFIG_EX: {35}}
    assert classic_opcodes(images=False) == without
    assert classic_opcodes(images=True) == {**without, IMAGE: {2, 3, 4, 10}}


# -- versions from the future


@pytest.mark.parametrize("version", [6, 99, 255])
@pytest.mark.parametrize(
    ("provider", "number", "form", "expected"),
    [
        (KERNEL_PROCESS, 1, (0, 8), ProcessStart(TIME, 111, 222, 9320)),
        (KERNEL_PROCESS, 1, (0, 4), ProcessStart(TIME, 111, 222, 9320)),
        (KERNEL_PROCESS, 2, (0, 8), ProcessStop(TIME, 9320)),
        (KERNEL_PROCESS, 15, (0, 8), ProcessRundown(TIME, 9320)),
        (PROCESS, 1, (8, 8), ProcessStart(TIME, 111, 222, 9320)),
        (PROCESS, 1, (4, 4), ProcessStart(TIME, 111, 222, 9320)),
        (PROCESS, 2, (8, 8), ProcessStop(TIME, 9320)),
        (PROCESS, 3, (4, 4), ProcessRundown(TIME, 9320)),
    ],
)
def test_a_process_event_of_an_unknown_version_tells_its_process_id_and_no_more(
    provider, number, form, expected, version
):
    decode = Decoding()
    pid_at, pointer_size = form
    payload = b"\xee" * pid_at + u32(9320) + b"\xee" * 3
    assert decode(provider, number, version, payload, pointer_size) == expected
    assert decode.complaints == []
    (kind,) = decode.decoder.counts
    assert decode.decoder.unknown_versions == Counter({(kind, version): 1})


@pytest.mark.parametrize(("provider", "number"), [(KERNEL_PROCESS, 3), (THREAD, 1)])
def test_a_thread_start_of_an_unknown_version_is_read_as_the_latest_known(decode, provider, number):
    payload = thread_start_payload(9320, 8084, 0x77001000) + b"\xee" * 30
    assert decode(provider, number, 99, payload) == ThreadStart(TIME, 111, 222, 9320, 8084, 0x77001000)
    assert decode.decoder.unknown_versions == Counter({("ThreadStart", 99): 1})


def test_a_process_start_of_version_99_makes_no_false_remote_thread(decode):
    rule = RemoteThreadRule()
    rule.observe(decode(KERNEL_PROCESS, 1, 99, u32(9320) + bytes(3)))
    assert rule.observe(decode(KERNEL_PROCESS, 3, 1, thread_start_payload(9320, 8084))) is None
    assert rule.counts.first == 1


# -- damage


def test_a_damaged_payload_is_told_with_its_kind_version_and_place_in_the_file(decode):
    assert decode(KERNEL_PROCESS, 3, 1, bytes(67)) is None
    ((offset, what),) = decode.complaints
    assert offset == OFFSET
    assert what == "ThreadStart version 1: a payload of 67 bytes where its version has at least 68"


def test_a_process_start_damaged_behind_its_id_still_feeds_the_rule(decode):
    assert decode(KERNEL_PROCESS, 1, 3, u32(9320) + bytes(9)) == ProcessStart(TIME, 111, 222, 9320)
    assert len(decode.complaints) == 1


def test_a_classic_process_start_damaged_behind_its_id_still_feeds_the_rule(decode):
    assert decode(PROCESS, 1, 3, u64(0xEE) + u32(9320)) == ProcessStart(TIME, 111, 222, 9320)
    assert len(decode.complaints) == 1


@pytest.mark.parametrize(
    ("provider", "version", "room"), [(KERNEL_PROCESS, 0, 4), (PROCESS, 0, 4), (PROCESS, 1, 12)]
)
def test_a_process_start_without_room_for_its_id_is_left_out(decode, provider, version, room):
    assert decode(provider, 1, version, bytes(room - 1)) is None
    assert len(decode.complaints) == 1
    assert decode(provider, 1, version, bytes(room)) is not None


def test_a_thread_start_is_never_guessed_from_half_a_payload(decode):
    whole = thread_start_payload(9320, 8084)
    assert [length for length in range(len(whole)) if decode(KERNEL_PROCESS, 3, 1, whole[:length])] == []


# -- arbitrary payloads

EVENT_TYPES = [
    *kernel_process.EVENTS.values(),
    *(kind for kinds in system_trace.EVENTS.values() for kind in kinds.values()),
]
KNOWN_EVENTS = [
    *((KERNEL_PROCESS, number) for number in kernel_process.EVENTS),
    *((provider, opcode) for provider, kinds in system_trace.EVENTS.items() for opcode in kinds),
]
SID = bytes.fromhex("01 01 000000000005 12000000")
payloads = st.one_of(
    st.binary(max_size=140),
    st.lists(
        st.one_of(st.just(bytes(8)), st.just(SID), st.binary(max_size=24), st.just(utf16("a.exe"))),
        max_size=12,
    ).map(b"".join),
)


@given(st.sampled_from(EVENT_TYPES), st.integers(0, 255), payloads, st.sampled_from([4, 8]))
def test_any_payload_is_decoded_or_is_a_payload_error(event_type, version, payload, pointer_size):
    try:
        event = event_type.decode(raw(PROCESS, 1, version, payload, pointer_size))
    except PayloadError:
        return
    assert event.time == TIME
    assert 0 <= getattr(event, "pid", 0) <= 0xFFFFFFFF


@given(st.sampled_from(KNOWN_EVENTS), st.integers(0, 7), payloads, st.sampled_from([4, 8]))
def test_the_decoder_takes_any_payload_and_is_silent_only_about_what_it_could_read(
    known, version, payload, pointer_size
):
    decode = Decoding(images=True)
    event = decode(*known, version, payload, pointer_size)
    assert event is not None or decode.complaints
    assert decode.decoder.counts.total() == 1
