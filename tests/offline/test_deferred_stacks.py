"""Deferred call stacks: each thread start gets the stack that was recorded of it, or is told what is missing."""

import io
import random
from collections import defaultdict
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etwdetect.core.events import MOST_FRAMES, CallStack, ThreadStart
from etwdetect.offline import Scan, deferred_stacks
from etwdetect.offline.deferred_stacks import (
    COARSE_CLOCK,
    NO_PART,
    NO_STACK,
    NO_USER_PART,
    SEVERAL,
    TOO_MANY,
    UNDEFINED,
    DeferredStacks,
)
from etwdetect.sources.etl.reader import Trace
from tests.bytes_by_hand import (
    ANCHOR,
    START_TIME,
    buffer,
    event_header_record,
    extended_item,
    first_buffer,
    full_record,
    perfinfo_record,
    system_record,
    thread_start,
    u32,
    u64,
)

SECOND = 10_000_000
TIME = ANCHOR + 60 * SECOND
CREATOR = 10, 11
KERNEL = 0xFFFF_F800_0000_1000, 0xFFFF_F800_0000_2000
USER = 0x7FF9_0000_1000, 0x7FF9_0000_2000, 0x7FF7_0000_3000
STACK_WALK = bytes.fromhex("46fef2de d67b 804b bd94 f57fe20d0ce3")
EVENT_TRACING = bytes.fromhex("37ec75b6 b6bd 4846 bc92 f3fdc74d3ca2")
START = thread_start(CREATOR, 20, 21, time=TIME)


def of_event(time=TIME, pid=10, tid=11):
    return u64(time) + u32(pid) + u32(tid)


def addresses(frames):
    return b"".join(map(u64, frames))


def whole(frames, recorded=TIME + 50, **event):
    return perfinfo_record(0x1820, of_event(**event) + addresses(frames), version=2, time=recorded)


def by_key(opcode, key, recorded=TIME + 50, **event):
    return perfinfo_record(0x1800 | opcode, of_event(**event) + u64(key), version=2, time=recorded)


def definition(key, frames, recorded, opcode=35):
    return perfinfo_record(0x1800 | opcode, u64(key) + addresses(frames), version=2, time=recorded)


def stacks(*records, **first):
    """The stacks among the events of a trace with *records*."""
    data = first_buffer(**first) + b"".join(buffer(record) for record in records)
    events = Scan([Trace(io.BytesIO(data), "some.etl")]).events()
    return [event for event in events if isinstance(event, CallStack)]


def stack(*records, **first):
    (found,) = stacks(START, *records, **first)
    return found


def parts(*records, **first):
    found = stack(*records, **first)
    return found.kernel_frames, found.user_frames, found.no_kernel, found.no_user


def test_a_stack_stands_right_before_its_thread_start():
    data = first_buffer() + buffer(START, whole(KERNEL + USER))
    before, after = [
        event
        for event in Scan([Trace(io.BytesIO(data), "some.etl")]).events()
        if isinstance(event, CallStack | ThreadStart)
    ]
    assert before == (START_TIME + 60 * SECOND, *CREATOR, KERNEL, USER, None, None)
    assert after[:3] == before[:3]


def test_a_trace_without_stacks_has_none():
    assert stacks(START) == []


@pytest.mark.parametrize("late", [2, 20, 4_000_000], ids=lambda ticks: f"{ticks / 10} us")
def test_the_parts_of_a_stack_are_put_together_however_late_they_come(late):
    found = (
        by_key(37, 1),
        by_key(38, 2, TIME + late),
        definition(1, KERNEL, TIME + 60),
        definition(2, USER, TIME + 2 * late, 36),
    )
    assert parts(*found) == parts(*reversed(found)) == (KERNEL, USER, None, None)


def test_a_whole_kernel_part_and_a_user_part_by_key_are_one_stack():
    assert parts(whole(KERNEL), by_key(38, 2), definition(2, USER, TIME + 90)) == (KERNEL, USER, None, None)


def test_a_key_means_the_first_definition_at_or_after_the_reference():
    """Keys are used again: the one before is of an earlier stack, the last one of a later."""
    others = definition(2, USER[:1], TIME + 49), definition(2, USER[1:], TIME + 51)
    found = by_key(38, 2), definition(2, USER, TIME + 50)
    for records in ((*others, *found), (*found, *others), (others[1], *found, others[0])):
        assert parts(whole(KERNEL), *records)[1] == USER


def test_a_missing_part_is_told():
    assert parts(whole(KERNEL)) == (KERNEL, None, None, NO_USER_PART)
    assert parts(whole(USER)) == (None, USER, NO_PART, None)


def test_a_key_that_nothing_defines_is_told():
    before = definition(2, USER, TIME + 49)
    assert parts(whole(KERNEL), by_key(38, 2), before) == (KERNEL, None, None, UNDEFINED)
    assert parts(whole(USER), by_key(37, 2), before) == (None, USER, UNDEFINED, None)


def test_frames_that_can_not_be_of_the_part_are_not_taken_for_it():
    wrong = by_key(37, 1), by_key(38, 2), definition(1, USER, TIME + 90), definition(2, KERNEL, TIME + 90)
    assert parts(*wrong) == (None, None, UNDEFINED, UNDEFINED)


@pytest.mark.parametrize(
    "other",
    [{"time": TIME + 1}, {"time": TIME - 1}, {"pid": 20}, {"tid": 12}],
    ids=["later", "earlier", "of another process", "of another thread"],
)
def test_the_stack_of_another_event_is_not_taken(other):
    assert parts(whole(KERNEL + USER, **other)) == (None, None, NO_STACK, NO_STACK)


def test_one_stack_that_is_recorded_twice_is_one():
    assert parts(whole(KERNEL + USER), whole(KERNEL + USER, TIME + 70)) == (KERNEL, USER, None, None)


def test_where_several_stacks_fit_none_is_taken():
    assert parts(whole(KERNEL), whole(KERNEL[:1])) == (None, None, SEVERAL, SEVERAL)
    assert parts(*[whole(KERNEL)] * 9) == (None, None, SEVERAL, SEVERAL)


def test_two_raw_times_of_one_filetime_are_two_events():
    """The clock has 16 ticks in each 100 ns unit."""
    time = ANCHOR + 16 * 60 * SECOND
    start = thread_start(CREATOR, 20, 21, time=time)
    one, other = whole(KERNEL, time + 20, time=time), whole(KERNEL, time + 20, time=time + 1)
    (found,) = stacks(start, one, perf_freq=160_000_000)
    assert found.kernel_frames == KERNEL
    (found,) = stacks(start, one, other, perf_freq=160_000_000)
    assert (found.kernel_frames, found.no_kernel) == (None, SEVERAL)


def test_on_a_clock_that_stands_still_between_events_no_stack_is_taken():
    assert parts(whole(KERNEL + USER), clock=2) == (None, None, COARSE_CLOCK, COARSE_CLOCK)


def test_a_32_bit_trace_has_frames_and_keys_of_4_bytes():
    payload = u32(20) + u32(21) + bytes(7 * 4 + 4)
    start = system_record(0x0501, payload, version=2, pid=10, tid=11, time=TIME, header_type=0x01)
    kernel = perfinfo_record(0x1820, of_event() + u32(0x8123_4567), time=TIME + 9, header_type=0x10)
    user = perfinfo_record(0x1826, of_event() + u32(0x9876), time=TIME + 9, header_type=0x10)
    defined = perfinfo_record(0x1824, u32(0x9876) + u32(0x7701_0203), time=TIME + 10, header_type=0x10)
    (found,) = stacks(start, kernel, user, defined, pointer_size=4, header_type=0x01)
    assert (found.kernel_frames, found.user_frames) == ((0x8123_4567,), (0x7701_0203,))


def test_a_32_bit_program_on_a_64_bit_system_has_frames_of_both():
    user = 0x7FF9_0000_1000, 0x7703_7C3F, 0x0040_1000
    assert parts(whole(KERNEL + user))[1] == user


def test_stacks_with_full_headers_are_found_too():
    record = full_record(STACK_WALK, 32, of_event() + addresses(KERNEL + USER), version=2, time=TIME + 40)
    assert parts(record) == (KERNEL, USER, None, None)


def with_items(*items, time=TIME):
    *first, last = items
    extended = b"".join(extended_item(data, more=True, item_type=kind) for kind, data in first)
    return thread_start(CREATOR, 20, 21, time=time, extended=extended + extended_item(last[1], item_type=last[0]))


def user_part(*item, time=TIME + 5000):
    extended = extended_item(item[1], item_type=item[0])
    return event_header_record(EVENT_TRACING, 18, pid=10, tid=11, time=time, extended=extended)


def test_an_extended_item_has_the_stack_of_its_own_event():
    (found,) = stacks(with_items((6, u64(0) + addresses(KERNEL + USER))))
    assert (found.kernel_frames, found.user_frames) == (KERNEL, USER)


def test_a_match_joins_the_user_part_that_comes_in_another_event():
    start = with_items((6, u64(0x55) + addresses(KERNEL)))
    other = user_part(6, u64(0x56) + addresses(USER[:1]))
    (found,) = stacks(start, other, user_part(6, u64(0x55) + addresses(USER)))
    assert (found.kernel_frames, found.user_frames) == (KERNEL, USER)
    (found,) = stacks(start, other)
    assert (found.user_frames, found.no_user) == (None, UNDEFINED)


def test_items_with_keys_have_the_frames_of_the_kernels_definitions():
    start = with_items((18, u64(0x55) + u64(7)))
    defined = definition(7, KERNEL, TIME + 9), definition(8, USER, TIME + 5001)
    (found,) = stacks(start, user_part(18, u64(0x55) + u64(8)), *defined)
    assert (found.kernel_frames, found.user_frames) == (KERNEL, USER)


def test_a_thread_start_that_another_provider_tells_too_has_the_stack_of_either_telling():
    told = thread_start(CREATOR, 20, 21, time=TIME)
    payload = u32(20) + u32(21) + bytes(40) + u64(0x7FF7_0000_1000) + bytes(12)
    again = system_record(0x0501, payload, version=2, pid=10, tid=11, time=TIME + 30)
    (found,) = stacks(told, again, whole(KERNEL + USER, TIME + 50, time=TIME + 30))
    assert (found.time, found.kernel_frames) == (START_TIME + 60 * SECOND, KERNEL)


def test_of_joined_files_each_has_its_own_keys():
    first, second = (
        first_buffer() + buffer(record, whole(KERNEL, time=time), by_key(38, 2, time=time)) + buffer(defined)
        for record, time, defined in (
            (START, TIME, definition(2, USER, TIME + 500)),
            (thread_start(CREATOR, 20, 22, time=TIME + 9), TIME + 9, definition(2, USER[:2], TIME + 60)),
        )
    )
    events = Scan([Trace(io.BytesIO(data), "some.etl") for data in (first, second)]).events()
    assert [each.user_frames for each in events if isinstance(each, CallStack)] == [USER, USER[:2]]


def test_more_frames_than_windows_records_are_cut_and_counted():
    frames = tuple(range(0x7FF9_0000_0000, 0x7FF9_0000_0000 + MOST_FRAMES + 44))
    found = stack(whole(frames))
    assert found.user_frames == frames[:MOST_FRAMES]
    assert found.no_user == "only the innermost 256 of its 300 frames are kept"


def test_more_thread_starts_than_the_bound_are_told(monkeypatch):
    monkeypatch.setattr(deferred_stacks, "MOST_STARTS", 2)
    times = [TIME + 100 * number for number in range(3)]
    starts = [thread_start(CREATOR, 20, number, time=time) for number, time in enumerate(times)]
    found = stacks(*starts, *(whole(KERNEL, time + 50, time=time) for time in times))
    assert [each.no_kernel for each in found] == [None, None, TOO_MANY]


def test_more_definitions_than_the_bound_are_told(monkeypatch):
    monkeypatch.setattr(deferred_stacks, "MOST_DEFINITIONS", 1)
    other = definition(2, USER[:1], TIME)
    assert parts(whole(KERNEL), by_key(38, 2), other, definition(2, USER, TIME + 60)) == (
        KERNEL,
        None,
        None,
        TOO_MANY,
    )


def test_a_record_that_is_too_short_is_counted():
    data = first_buffer() + buffer(START, perfinfo_record(0x1825, of_event()), whole(KERNEL))
    trace = Trace(io.BytesIO(data), "some.etl")
    scan = Scan([trace])
    assert [each.kernel_frames for each in scan.events() if isinstance(each, CallStack)] == [KERNEL]
    assert scan.result().stacks_damaged == 1


@st.composite
def histories(draw):
    """Thread starts with the records of their stacks, and the stacks that must come out.

    The keys are used again and again, as Windows does: a key is free again behind its definition. Some pieces are
    lost, and some of the last definitions.
    """
    time, free, records, expected = TIME, [1, 2, 3], [], {}
    held = defaultdict(list)
    last = {}
    for number in range(draw(st.integers(1, 8))):
        time += draw(st.integers(1, 30))
        tid = draw(st.integers(11, 12))
        records.append(thread_start((10, tid), 20, 100 + number, time=time))
        kernel = tuple(KERNEL[0] + 16 * number + at for at in range(draw(st.integers(1, 3))))
        user = tuple(USER[0] + 16 * number + at for at in range(draw(st.integers(0, 3))))
        found, later = [], time
        for opcode, frames in ((37, kernel), (38, user)):
            if not frames or draw(st.integers(0, 3)) == 0:
                found.append((None, NO_PART if opcode == 37 else NO_USER_PART))
                continue
            found.append((frames, None))
            recorded = later + draw(st.integers(0, 40))
            if not free or draw(st.booleans()):
                records.append(whole(frames, recorded, time=time, tid=tid))
                continue
            key = free.pop(draw(st.integers(0, len(free) - 1)))
            records.append(by_key(opcode, key, recorded, time=time, tid=tid))
            defined = recorded + draw(st.integers(0, 40))
            held[defined].append(key)
            last[key] = (definition(key, frames, defined, draw(st.sampled_from([34, 35, 36]))), number, opcode)
            later = defined + 1
            free.append(key)
            records.append(last[key][0])
        if all(frames is None for frames, _ in found):
            found = [(None, NO_STACK)] * 2
        expected[100 + number] = found
        time = later
    for key in sorted(last):
        record, number, opcode = last[key]
        if draw(st.booleans()):
            records.remove(record)
            expected[100 + number][opcode - 37] = (None, UNDEFINED)
    return draw(st.permutations(records)), expected


@given(histories())
def test_any_order_and_delay_gives_the_stack_that_was_written_or_says_what_is_missing(history):
    records, expected = history
    data = first_buffer() + b"".join(buffer(record) for record in records)
    events = list(Scan([Trace(io.BytesIO(data), "some.etl")]).events())
    found = {
        after.tid: [(before.kernel_frames, before.no_kernel), (before.user_frames, before.no_user)]
        for before, after in pairwise(events)
        if isinstance(before, CallStack)
    }
    if any(frames for parts in expected.values() for frames, _ in parts) or found:
        assert found == expected


@given(st.lists(st.tuples(st.sampled_from([32, 34, 35, 36, 37, 38]), st.binary(max_size=80)), max_size=12))
def test_any_payloads_end_in_a_stack_or_a_reason(payloads):
    records = [perfinfo_record(0x1800 | opcode, of_event()[: len(data)] + data) for opcode, data in payloads]
    for found in stacks(START, *records):
        assert found.kernel_frames or found.no_kernel
        assert found.user_frames or found.no_user


@st.composite
def matches(draw):
    """Thread starts with extended items, the events with their user parts, and the stacks that must come out."""
    time, records, expected = TIME, [], {}
    ids = draw(st.lists(st.integers(1, 2**64 - 1), min_size=1, max_size=6, unique=True))
    for number, match in enumerate(ids):
        time += draw(st.integers(1, 30))
        kernel = tuple(KERNEL[0] + 16 * number + at for at in range(draw(st.integers(1, 3))))
        user = tuple(USER[0] + 16 * number + at for at in range(draw(st.integers(1, 3))))
        found, moment = [], time
        for frames, key in ((kernel, 2 * number), (user, 2 * number + 1)):
            is_by_key, is_lost = draw(st.booleans()), draw(st.integers(0, 3)) == 0
            item = (18, u64(match) + u64(key)) if is_by_key else (6, u64(match) + addresses(frames))
            is_user = frames == user
            if not is_user:
                extended = extended_item(item[1], item_type=item[0])
                start = thread_start(CREATOR, 20, 100 + number, time=time, extended=extended)
                records.append(start)
                is_lost &= is_by_key  # what stands in the event itself is there
            elif not (is_lost and not is_by_key):
                moment += draw(st.integers(0, 40))
                records.append(user_part(*item, time=moment))
            if is_by_key and not is_lost:
                records.append(definition(key, frames, moment + draw(st.integers(0, 40))))
            found.append((None, UNDEFINED) if is_lost else (frames, None))
        expected[100 + number] = found
    return draw(st.permutations(records)), expected


@given(matches())
def test_any_order_and_delay_of_parts_with_a_match_gives_the_stack_that_was_written(history):
    records, expected = history
    data = first_buffer() + b"".join(buffer(record) for record in records)
    found = {
        after.tid: [(before.kernel_frames, before.no_kernel), (before.user_frames, before.no_user)]
        for before, after in pairwise(Scan([Trace(io.BytesIO(data), "some.etl")]).events())
        if isinstance(before, CallStack)
    }
    assert found == expected


def hostile_records(chance):
    """Records as a hostile trace has them: of any kind and length, with any keys, of one moment or of many."""
    records = bytearray()
    for _ in range(5_000):
        opcode = chance.choice((32, 34, 35, 36, 37, 38, *range(0xF0, 0xF4)))
        size = chance.choice((0, 3, 15, 16, 24, 40, 120, 120, 2_000))
        event = of_event(chance.choice((TIME, TIME, TIME + chance.randrange(1 << 20))))
        key = u64(chance.choice((chance.randrange(4), chance.randrange(1 << 64))))
        body = (event if opcode in {32, 37, 38, 0xF0, 0xF1} else b"") + key + chance.randbytes(size)
        records += perfinfo_record(
            0x1800 | opcode, body[: chance.choice((len(body), size))], version=2, time=TIME + 1
        )
    return bytes(records)


@pytest.mark.slow
def test_of_a_million_hostile_stacks_no_more_is_kept_than_the_bounds_say():
    blocks = [hostile_records(random.Random(seed)) for seed in range(4)]
    held = DeferredStacks()
    trace = Trace(io.BytesIO(first_buffer()), "some.etl")
    held.begin(trace)
    start = ThreadStart(trace.clock.filetime(TIME), *CREATOR, 20, 21)
    held.expect(start)
    for number in range(200):
        held.take(blocks[number % 4])
    found = held.of(start)
    assert (found.no_kernel, found.no_user) == (SEVERAL, SEVERAL)
    assert held.damaged
    assert len(held._buffer) < deferred_stacks.DEFAULT_LIMIT
    assert [len(each) for each in held._pieces.values()] == [deferred_stacks.MOST_PIECES + 1]
    assert 0 < len(held._definitions) <= 3 * (deferred_stacks.MOST_PIECES + 1)
    assert sum(len(each._times) for each in held._definitions.values()) <= deferred_stacks.MOST_DEFINITIONS


@pytest.mark.slow
def test_few_keys_with_many_definitions_take_bounded_memory(monkeypatch):
    """Limits and records are a hundredth of what they would be."""
    import tracemalloc  # noqa: PLC0415 (slow while it is on)

    monkeypatch.setattr(deferred_stacks, "MOST_DEFINITIONS", 1 << 12)
    held = DeferredStacks(limit=1 << 16)
    trace = Trace(io.BytesIO(first_buffer()), "some.etl")
    held.begin(trace)
    tracemalloc.start()
    start = ThreadStart(trace.clock.filetime(TIME), *CREATOR, 20, 21)
    held.expect(start)
    for number in range(10_000):
        held.take(by_key(37, number % 3) + definition(number % 3, KERNEL * 20, TIME + number) + whole(USER * 20))
    assert held.of(start).no_kernel in {SEVERAL, TOO_MANY}
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 << 20


def listed(pid, base, image, time=ANCHOR + 9):
    """The kernel logger's listing of an image, V2."""
    fields = u64(base) + u64(0x10_0000) + u32(pid) + u32(3) + u32(4) + u32(0) + u64(0) + bytes(16)
    return perfinfo_record(0x1403, fields + image.encode("utf-16-le") + bytes(2), version=2, time=time)


def kernel_start(creator, pid, tid, address, time=TIME):
    payload = u32(pid) + u32(tid) + bytes(40) + u64(address) + bytes(12)
    return system_record(0x0501, payload, version=2, pid=creator[0], tid=creator[1], time=time)


@pytest.mark.parametrize("listing", [ANCHOR + 9, TIME + 90_000], ids=["before", "at the end"])
def test_a_hit_of_the_kernel_logger_has_its_stack_and_the_kind_that_it_means(listing):
    """As a pool grows in its client's context: the kernel is entered twice; the user part comes by key, late."""
    nt, ntdll = 0xFFFF_F800_0000_0000, 0x7FF9_0000_0000
    kernel = tuple(nt + offset for offset in (0x2FA00, 0x32B3A, 0x7A053, 0x7F230, 0x7A053))
    records = [
        kernel_start((1, 2), 1, 3, 0x1000, time=ANCHOR + 5),
        listed(0, nt, "\\SystemRoot\\system32\\ntoskrnl.exe", listing),
        listed(10, ntdll, "\\Device\\HarddiskVolume2\\Windows\\System32\\ntdll.dll", listing),
        listed(20, ntdll, "\\Device\\HarddiskVolume2\\Windows\\System32\\ntdll.dll", listing),
        kernel_start(CREATOR, 20, 21, ntdll + 0x4F00),
        whole(kernel),
        by_key(38, 2, TIME + 4_000_000),
        definition(2, (ntdll + 0x466B, ntdll + 0x2103B), TIME + 4_000_500, 36),
    ]
    data = first_buffer() + b"".join(buffer(record) for record in records)
    (hit,) = Scan([Trace(io.BytesIO(data), "some.etl")]).detections()
    assert hit.calls.trace == "C:\\Windows\\System32\\ntdll.dll+466b|C:\\Windows\\System32\\ntdll.dll+2103b"
    assert hit.calls.kernel.split("|")[-1] == "\\SystemRoot\\system32\\ntoskrnl.exe+7a053"
    assert (hit.kind, hit.severity) == ("made inside another call", "medium")
