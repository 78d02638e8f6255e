"""A trace read in columns tells what it tells read event by event: records, counts, warnings and events."""

import random
from functools import partial
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

np = pytest.importorskip("numpy")

from etwdetect.core.events import (  # noqa: E402 (numpy may be missing)
    UNKNOWN_ID,
    ImageLoad,
    ImageUnload,
    ProcessRundown,
    ProcessStart,
    ProcessStop,
    ThreadStart,
    ThreadStop,
)
from etwdetect.core.raw import IMAGE, LOST_EVENTS, PROCESS, SYSTEM_CONFIG_EX, THREAD, RawEvent  # noqa: E402
from etwdetect.enrich.process_tracker import ProcessTracker  # noqa: E402
from etwdetect.offline import Scan  # noqa: E402
from etwdetect.offline import runs as runs_module  # noqa: E402
from etwdetect.offline.runs import ROW, SortedRuns, key_of  # noqa: E402
from etwdetect.sources.decode import system_trace  # noqa: E402
from etwdetect.sources.decode.encode import encode  # noqa: E402
from etwdetect.sources.etl import reader  # noqa: E402
from etwdetect.sources.etl.reader import Trace  # noqa: E402
from etwdetect.sources.etl.window import WINDOW  # noqa: E402
from etwdetect.sources.etl.writer import TraceOptions, TraceWriter  # noqa: E402

START = 132_337_152_000_000_000
VOLUME = "\\Device\\HarddiskVolume"
NAMES = (
    f"{VOLUME}3\\Windows\\System32\\svchost.exe",
    f"{VOLUME}4\\Windows\\notepad.exe",
    f"{VOLUME}3\\tools\\svchost.exe",
    f"{VOLUME}{'9' * 70}\\Windows\\x.exe",
    "\\SystemRoot\\System32\\smss.exe",
    "svchost.exe",
    "cmd.exe",
    "",
)
PIDS = (0, 4, 8, 12, 16, 20)
ADDRESSES = (0x7FF8_0000_1234, 0x7FF000, 0xFFFF_F800_0000_1000, 0)
LIBRARY = 0x7FF8_0000_0000


def kernel_process_event(chance, time):  # noqa: PLR0911 (a kind each)
    """Return any event of Microsoft-Windows-Kernel-Process."""
    pid, creator, tid = chance.choice(PIDS), chance.choice((*PIDS, UNKNOWN_ID)), chance.randrange(5, 12)
    creator = chance.choice((creator, pid))
    created, name = chance.choice((time, 0, START, START - 10**8)), chance.choice(NAMES)
    sequence = chance.choice((None, None, 7, 8))
    kind = chance.randrange(20)
    if kind < 9:
        tid = chance.choice((tid, chance.randrange(10**6)))
        return encode(ThreadStart(time, creator, 5, pid, tid, chance.choice(ADDRESSES)))
    if kind < 12:
        start = ProcessStart(time, creator, tid, pid, chance.choice(PIDS), 1, created, None, name, None, sequence)
        return encode(start, version=chance.randrange(6))
    if kind < 15:
        image = chance.choice(("svchost.exe", "cmd.exe", ""))
        stop = ProcessStop(time, pid, create_time=created, image=image, sequence=sequence)
        return encode(stop, version=chance.randrange(3))
    if kind < 16:
        listed = ProcessRundown(time, pid, chance.choice(PIDS), 1, created, None, name, None, sequence)
        return encode(listed, version=chance.randrange(4))
    if kind < 17:
        return encode(ThreadStop(time, pid, tid))
    if kind < 19:
        return encode(ImageLoad(time, pid, chance.choice((LIBRARY, 0x7FF000)), 0x10000, 1, 2, name))
    return encode(ImageUnload(time, pid, LIBRARY, 0x10000, name))


def kernel_logger_event(chance, time):
    """Return any event of the NT Kernel Logger."""
    pid, creator, tid = chance.choice(PIDS), chance.choice(PIDS), chance.randrange(5, 12)
    kind = chance.randrange(20)
    if kind < 11:
        provider, opcode, version = THREAD, chance.choice((1, 1, 1, 2, 3, 4)), chance.randrange(4)
        values = {"ProcessId": pid, "TThreadId": tid, "Win32StartAddr": chance.choice(ADDRESSES)}
    elif kind < 17:
        provider, opcode, version = PROCESS, chance.choice((1, 1, 2, 2, 3, 4, 39)), chance.randrange(2, 5)
        values = {"ProcessId": pid, "ParentId": chance.choice(PIDS), "CommandLine": "x" * chance.choice((0, 300))}
        values["ImageFileName"] = chance.choice(("svchost.exe", "cmd.exe", ""))
    elif kind < 19:
        provider, opcode, version = IMAGE, chance.choice((10, 10, 2, 3, 4)), 2
        values = {"ProcessId": pid, "ImageBase": LIBRARY, "ImageSize": 0x10000, "ImageName": chance.choice(NAMES)}
    elif chance.randrange(2):
        provider, opcode, version = SYSTEM_CONFIG_EX, 35, 0
        values = {"NtPath": f"{VOLUME}3\\", "DosPath": chance.choice(("C:\\", "D:\\"))}
    else:
        return RawEvent(LOST_EVENTS, 0, 0, chance.choice((32, 33)), time, 0, 0, 8, b"")
    layouts = system_trace.EVENTS[provider][opcode].layouts
    return RawEvent(provider, 0, version, opcode, time, creator, tid, 8, layouts[version].pack(8, values))


def spoiled(chance, raw):  # noqa: PLR0911 (a fault each)
    """Return *raw*, rarely with something unusual."""
    match chance.randrange(20):
        case 0:
            return raw._replace(payload=raw.payload[: chance.randrange(len(raw.payload) + 1)])
        case 1:
            return raw._replace(version=chance.choice((6, 9, 200)))
        case 2:
            return raw._replace(container="{12345678-aaaa-bbbb-cccc-1234567890ab}")
        case 3:
            return raw._replace(time=chance.choice((0, 5, 2_650_467_743_999_999_999)))
        case 4:
            return raw._replace(pointer_size=4)
        case 5:
            return raw._replace(id=raw.id and chance.choice((7, 11, 300)))
    return raw


def trace_of(seed, length, spread):
    """Return a trace of *length* events, whose times are up to *spread* out of order.

    Most traces are of one source and tell nothing twice: with others, reading in columns is given up.
    """
    chance = random.Random(seed)
    of_kernel, has_keys = chance.randrange(3) == 0, chance.randrange(8) == 0
    other_in, again_in, spoiled_in = (chance.choice((each, 10**9)) for each in (200, 40, 3))
    cpus, time, file = chance.choice((1, 2, 4)), START, BytesIO()
    with TraceWriter(file, TraceOptions(START, cpus=cpus)) as writer:
        for _ in range(length):
            time += chance.choice((0, 0, 1, 1000, 20_000, 3_000_000, 11_000_000))
            at = time - chance.choice((0, 0, 1, spread))
            other = chance.randrange(other_in) == 0
            raw = (kernel_logger_event if of_kernel != other else kernel_process_event)(chance, at)
            if chance.randrange(spoiled_in) == 0:
                raw = spoiled(chance, raw)
            if has_keys and raw.id:
                raw = raw._replace(start_key=chance.choice((None, 5, 6)))
            for _ in range(1 + (chance.randrange(again_in) == 0)):
                writer.write(raw, cpu=chance.randrange(cpus))
            if chance.randrange(20) == 0:
                writer.flush(chance.randrange(cpus))
    return file.getvalue()


ANY_ITEMS = (
    ((16, b"12345678-aaaa-bbbb-cccc-1234567890ab"),),
    ((13, bytes(7)),),
    ((13, bytes(16)),),
    ((13, bytes(8)), (13, bytes(8))),
)
"""Extended items that stand before a start key, or in place of one."""


def trace_with_keys(seed, length, spread):
    """Return a trace whose events have start keys: of processes whose exits and starts are lost now and then.

    Without *spread* it is in order.
    """
    chance, file = random.Random(seed), BytesIO()
    keys, pids, life, time, cpus = {}, (*PIDS[1:], 24, 28, 32), 0, START, chance.choice((1, 2)) if spread else 1
    lost, own, told_of = chance.choice((0, 1, 1, 2)), chance.choice((2, 30)), pids[: chance.choice((1, 4, 8))]
    with TraceWriter(file, TraceOptions(START, cpus=cpus)) as writer:
        for number in range(length):
            time += chance.choice((1, 1, 1000, 20_000, 3_000_000))
            at = time - (chance.choice((0, 0, 1, spread)) if spread else 0)
            pid, creator, name = chance.choice(told_of), chance.choice(pids), chance.choice(NAMES)
            match chance.randrange(12):
                case 0 | 1:
                    life += 1
                    keys[pid] = chance.choice((life, life, 0, 2**64 - life))
                    event = ProcessStart(at, creator, 5, pid, creator, 1, at, None, name)
                case 2:
                    event = ProcessStop(at, pid, create_time=at, image=name)
                case 3:
                    event = ProcessRundown(at, pid, creator, 1, chance.choice((at, START)), None, name)
                case 4:
                    event = ImageLoad(at, pid, LIBRARY, 0x10000, 1, 2, name)
                case _:
                    pid = creator if chance.randrange(own) else chance.choice(pids)
                    event = ThreadStart(at, creator, 5, pid, number, chance.choice(ADDRESSES))
            raw = encode(event)
            if isinstance(event, (ProcessStart, ProcessStop)) and chance.randrange(3) < lost:
                continue
            if chance.randrange(12):
                raw = raw._replace(start_key=keys.get(raw.pid, 0))
            items = () if chance.randrange(15) else chance.choice(ANY_ITEMS)
            writer.write(raw, chance.randrange(cpus), items=items)
    return file.getvalue()


def told(data, bound, least):
    """Return all that scans of *data* tell, and whether it was read in columns: from *least* buffers on it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "WIDE", least)
        scan = Scan([Trace(BytesIO(data), "x")], bound)
        detections = list(scan.detections())
        result = scan.result()._replace(seconds=0)
        (recording,) = scan._recordings
        events = list(Scan([Trace(BytesIO(data), "x")], bound).events())
    state = scan.rule.table.snapshot(), scan.rule.possible_misses
    return (detections, result, state, events), recording.reading.columns is not None


lengths = st.sampled_from((0, 1, 5, 20, 60, 150))
spreads = st.sampled_from((0, 5000, 30_000_000))
bounds = st.sampled_from((16_384, 16_384, 1, 2, 5))


@given(st.integers(0), lengths, spreads, bounds)
def test_a_trace_in_columns_tells_what_its_events_tell(seed, length, spread, bound):
    data = trace_of(seed, length, spread)
    in_columns, _ = told(data, bound, 0)
    by_events, was_in_columns = told(data, bound, 1 << 30)
    assert not was_in_columns
    assert in_columns == by_events


@given(st.integers(0), lengths, spreads, st.integers(1, 6), st.booleans())
@settings(max_examples=30)
def test_little_room_changes_nothing(seed, length, spread, most, is_short):
    data = trace_of(seed, length, spread)
    by_events, _ = told(data, 16_384, 1 << 30)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("etwdetect.offline.columns._MOST_NAMES", 1)
        patch.setattr("etwdetect.offline.columns._MOST_IN_MEMORY", 100)
        patch.setattr("etwdetect.offline.selection.MOST_PROCESSES", most)
        patch.setattr("etwdetect.offline.selection.MOST_PARENTS", most * 2)
        patch.setattr("etwdetect.sources.etl.window.WINDOW", 1 << 12 if is_short else WINDOW)
        patch.setattr(runs_module, "BLOCK", most)
        patch.setattr(runs_module, "_SMALLEST", 1)
        patch.setattr(runs_module, "IN_MEMORY", most)
        assert told(data, 16_384, 0)[0] == by_events


@given(st.integers(0), lengths, spreads, st.sampled_from((1, 3, 1 << 16)))
def test_start_keys_tell_in_columns_what_they_tell_in_events(seed, length, spread, block):
    data = trace_with_keys(seed, length, spread)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs_module, "BLOCK", block)
        assert told(data, 16_384, 0)[0] == told(data, 16_384, 1 << 30)[0]


@given(st.integers(0), lengths, st.integers(1, 6))
@settings(max_examples=50)
def test_start_keys_that_are_forgotten_in_columns_are_those_forgotten_in_events(seed, length, most):
    data = trace_with_keys(seed, length, 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("etwdetect.enrich.enricher.ProcessTracker", partial(ProcessTracker, most))
        patch.setattr("etwdetect.offline.selection.MOST_PROCESSES", most)
        assert told(data, 16_384, 0)[0] == told(data, 16_384, 1 << 30)[0]


def trace_of_threads(threads, *more):
    """Return a trace of process 8, *more* events, and *threads*: a creator, a process and a start key each."""
    file = BytesIO()
    with TraceWriter(file, TraceOptions(START)) as writer:
        writer.write(encode(ProcessRundown(START, 8, 4, 1, START - 10, None, NAMES[1])))
        for event in more:
            writer.write(encode(event))
        for tid, (creator, pid, key) in enumerate(threads):
            raw = encode(ThreadStart(START + 10 + tid, creator, 9, pid, tid, LIBRARY))
            writer.write(raw._replace(start_key=key))
    return file.getvalue()


def test_another_start_key_takes_the_name_from_a_creator_read_in_columns():
    (detections, *_, events), in_columns = told(trace_of_threads([(8, 12, 5), (8, 16, 5), (8, 20, 0)]), 16_384, 0)
    assert in_columns
    assert [each.source.image is None for each in detections] == [False, False, True]
    assert [each.creator_key for each in events if isinstance(each, ThreadStart)] == [5, 5, 0]


@pytest.mark.parametrize("letters", ["CD", "DC"])
def test_of_drives_that_contradict_the_last_of_the_file_counts_before_any_is_told(letters):
    file = BytesIO()
    with TraceWriter(file, TraceOptions(START)) as writer:

        def write(provider, opcode, version, time, **values):
            layout = system_trace.EVENTS[provider][opcode].layouts[version]
            writer.write(RawEvent(provider, 0, version, opcode, time, 8, 9, 8, layout.pack(8, values)))

        write(IMAGE, 10, 2, START, ProcessId=12, ImageBase=LIBRARY, ImageSize=0x10000, ImageName=NAMES[1])
        write(THREAD, 1, 3, START + 1, ProcessId=12, TThreadId=7, Win32StartAddr=LIBRARY)
        late = START + 60 * 10**7
        for place, letter in enumerate(letters):
            write(SYSTEM_CONFIG_EX, 35, 0, late - place, NtPath=f"{VOLUME}3\\", DosPath=f"{letter}:\\")
    (in_columns, was_in_columns), (by_events, _) = (told(file.getvalue(), 16_384, least) for least in (0, 1 << 30))
    assert was_in_columns
    assert in_columns == by_events
    (detection,) = by_events[0]
    assert detection.start.module == (r"C:\Windows\notepad.exe" if letters == "CD" else NAMES[1])


def test_threads_that_tell_a_known_start_key_are_not_shown_to_the_enrichment():
    keys, shown = (5, 5, 5, 6, 6, None, 6, 0, 0), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ProcessTracker, "create_thread", lambda _, event: shown.append(event.tid))
        told(trace_of_threads([*((8, 8, key) for key in keys), (8, 12, 0)]), 16_384, 0)
    assert shown == [0, 3, 7, 9]


@pytest.mark.parametrize(
    ("threads", "event"),
    [
        ([(8, 8, 5), (24, 24, 1), (8, 8, 6), (24, 24, 2), (8, 20, 6)], ProcessStop(START + 13, 20)),
        ([(8, 12, None), (8, 12, None)], ProcessStart(START + 11, 16, 9, 20, 16, 1, START, None, NAMES[0])),
    ],
    ids=["exits", "processes"],
)
def test_where_processes_are_forgotten_those_of_no_remote_thread_count(threads, event):
    data = trace_of_threads(threads, event)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("etwdetect.enrich.enricher.ProcessTracker", partial(ProcessTracker, 2))
        patch.setattr("etwdetect.offline.selection.MOST_PROCESSES", 2)
        assert told(data, 16_384, 0)[0] == told(data, 16_384, 1 << 30)[0]


def test_traces_of_one_source_are_read_in_columns():
    starts = BytesIO()
    with TraceWriter(starts, TraceOptions(START)) as writer:
        writer.write(encode(ThreadStart(START, 8, 9, 12, 13)))
    (detections, *_), in_columns = told(starts.getvalue(), 16_384, 0)
    assert (len(detections), in_columns) == (1, True)


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 9), st.sampled_from((3, 4, 5, 8)))), max_size=12), st.integers(1, 9)
)
def test_runs_are_merged_in_the_order_of_the_rule_as_often_as_asked_for(windows, most):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs_module, "_SMALLEST", 1)
        patch.setattr(runs_module, "BLOCK", most)
        runs = SortedRuns(limit=most)
        expected, number = [], 0
        for window in windows:
            rows = np.zeros(len(window), ROW)
            for row, (time, code) in zip(rows, window, strict=True):
                row["key"], row["code"], row["place"] = key_of(time, code), code, number
                expected.append((key_of(time, code), number))
                number += 1
            runs.add(rows)
        for _ in range(2):
            found = [(int(row["key"]), int(row["place"])) for rows in runs.blocks() for row in rows]
            assert found == sorted(expected)


def lives_in(*order):
    """Return a trace of lives of a process with equal threads: start, thread and exit, numbered as they happen."""
    file = BytesIO()
    with TraceWriter(file, TraceOptions(START)) as writer:
        for number in order:
            time = START + number // 3 * 10**8
            life = (
                ProcessStart(time, 8, 9, 100, 8, 1, time),
                ThreadStart(time + 1, 8, 9, 100, 7),
                ProcessStop(time + 2, 100, create_time=time),
            )
            writer.write(encode(life[number % 3]))
    return file.getvalue()


@pytest.mark.parametrize("order", [(3, 4, 5), (4, 3, 5), (5, 4, 3)])
def test_a_thread_id_that_is_used_again_costs_no_second_reading(order):
    assert told(lives_in(0, 1, 2, *order), 16_384, 0)[1]


@pytest.mark.parametrize(
    "order",
    [(0, 1, 2, 4, 5), (4, 0, 1, 2, 3, 4, 5), (7, 4, 3, 1, 0, 6, 7)],
    ids=["without its start", "around another life", "around two"],
)
def test_a_thread_that_starts_twice_in_one_life_costs_one(order):
    assert not told(lives_in(*order), 16_384, 0)[1]
