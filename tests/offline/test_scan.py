"""The way of a recorded trace, from bytes written by hand to detections."""

import io

import pytest

from etwdetect.offline import Scan
from etwdetect.sources.etl.reader import Trace
from tests.bytes_by_hand import (
    ANCHOR,
    KERNEL_PROCESS,
    LOST_EVENTS,
    START_TIME,
    THREAD,
    buffer,
    event_header_record,
    first_buffer,
    full_record,
    process_start,
    system_record,
    thread_start,
    thread_start_payload,
    u32,
)

SECOND = 10_000_000
LATER = ANCHOR + 60 * SECOND  # well past the session's start
REMOTE = thread_start((10, 11), 20, 21, time=LATER)
FIRST = thread_start((1, 2), 1, 3)  # what begins the recording, a minute before
SHORT = event_header_record(KERNEL_PROCESS, 3, bytes(5), version=1)


def scanned(*buffers, **first):
    scan = Scan([Trace(io.BytesIO(first_buffer(**first) + b"".join(buffers)), "some.etl")])
    return scan, list(scan.detections())


def evidence(*buffers, **first):
    _, hits = scanned(*buffers, **first)
    return [hit.thread.evidence for hit in hits]


def test_a_remote_thread_comes_out_with_the_names_that_the_trace_knows():
    scan, (hit,) = scanned(
        buffer(
            process_start((1, 2), 10, image="C:\\windbg.exe", time=ANCHOR + 1),
            thread_start((1, 2), 10, 11, time=ANCHOR + 2),
            REMOTE,
        )
    )
    assert hit.thread == (START_TIME + 60 * SECOND, 10, 11, 20, 21, 0x7FF7_0000_1000, ())
    assert (hit.detector, hit.source.image, hit.target.image, hit.pointer_size) == (
        "etw",
        "C:\\windbg.exe",
        None,
        8,
    )
    result = scan.result()
    assert (result.thread_starts.first, result.thread_starts.remote) == (1, 1)
    assert result.counts == {"ProcessStart": 1, "ThreadStart": 2}


def test_a_first_thread_that_stands_before_its_process_in_the_file_is_no_remote_thread():
    """Each CPU has its own buffers, and here the second one's was written first."""
    scan, hits = scanned(
        buffer(thread_start((10, 11), 20, 21, time=LATER + 1), cpu=1),
        buffer(process_start((10, 11), 20, time=LATER), cpu=0),
    )
    result = scan.result()
    assert (hits, result.thread_starts.first) == ([], 1)


def test_at_one_tick_of_a_coarse_clock_a_process_starts_before_its_first_thread():
    scan, hits = scanned(
        buffer(thread_start((10, 11), 20, 21, time=LATER), cpu=1),
        buffer(process_start((10, 11), 20, time=LATER), cpu=0),
        clock=2,
    )
    result = scan.result()
    assert (hits, result.thread_starts.first) == ([], 1)


def test_detections_come_in_the_order_of_time():
    _, hits = scanned(buffer(thread_start((10, 11), 20, 22, time=LATER + 5)), buffer(REMOTE))
    assert [hit.thread.tid for hit in hits] == [21, 22]


def test_a_kernel_logger_and_a_manifest_trace_give_the_same():
    payload = thread_start_payload(20, 21)
    kernel = system_record(0x0501, payload, version=2, pid=10, tid=11, time=LATER)
    classic = full_record(THREAD, 1, payload, version=2, pid=10, tid=11, time=LATER)
    expected = [hit.thread for hit in scanned(buffer(REMOTE))[1]]
    assert [hit.thread for hit in scanned(buffer(kernel))[1]] == expected
    assert [hit.thread for hit in scanned(buffer(classic))[1]] == expected


def test_an_unknown_version_of_a_process_start_still_makes_its_first_thread_first():
    start = event_header_record(
        KERNEL_PROCESS, 1, u32(20) + b"\xee" * 40, version=99, pid=10, tid=11, time=LATER - 1
    )
    scan, hits = scanned(buffer(start, REMOTE))
    result = scan.result()
    assert (hits, result.thread_starts.first, result.damages) == ([], 1, 0)
    assert result.unknown_versions == {("ProcessStart", 99): 1}


@pytest.mark.parametrize(
    ("buffers", "first", "expected"),
    [
        ([buffer(FIRST, REMOTE)], {}, ()),
        ([buffer(FIRST, REMOTE)], {"events_lost": 3}, ("events-lost:3",)),
        ([buffer(FIRST, REMOTE)], {"buffers_lost": 2}, ("buffers-lost:2",)),
        ([buffer(FIRST, REMOTE, flags=0x2), buffer(flags=0x4)], {}, ("events-lost:2",)),
        ([buffer(FIRST, REMOTE, full_record(LOST_EVENTS, 32))], {}, ("events-lost:1",)),
        ([buffer(FIRST, REMOTE, bytes(8))], {}, ("events-lost:1",)),
        ([buffer(FIRST, REMOTE, SHORT)], {}, ("events-lost:1",)),
        ([buffer(thread_start((10, 11), 20, 21))], {}, ("session-start",)),
    ],
    ids=["none", "events", "buffers", "marked", "RT_LostEvent", "broken buffer", "short payload", "session start"],
)
def test_what_is_missing_is_evidence_on_every_detection_before_and_after(buffers, first, expected):
    assert evidence(*buffers, **first) == [expected]


def test_a_loss_told_in_several_ways_is_counted_once():
    lost = full_record(LOST_EVENTS, 32)
    assert evidence(buffer(FIRST, REMOTE, lost, lost, flags=0x2), events_lost=2) == [("events-lost:2",)]


def test_a_short_payload_is_told_with_its_place_in_the_file():
    scan, hits = scanned(buffer(REMOTE, event_header_record(KERNEL_PROCESS, 3, bytes(5), version=1)))
    ((offset, what),) = scan.traces[0].damages.described
    assert offset == 4096 + 0x48 + len(REMOTE)
    assert what == "ThreadStart version 1: a payload of 5 bytes where its version has at least 68"
    assert len(hits) == 1


def test_the_files_of_one_session_are_one_trace_in_the_order_of_time():
    earlier = Trace(io.BytesIO(first_buffer(process_start((10, 11), 20, time=LATER - 1))), "1.etl")
    later = Trace(io.BytesIO(first_buffer(REMOTE)), "2.etl")
    scan = Scan([later, earlier])
    assert list(scan.detections()) == []
    result = scan.result()
    assert result.thread_starts.first == 1
    assert result.span == (START_TIME + 60 * SECOND - 1, START_TIME + 60 * SECOND)


def test_progress_is_told_in_bytes_of_the_file():
    told = []
    data = first_buffer() + buffer(REMOTE)
    scan = Scan([Trace(io.BytesIO(data), "some.etl")], progress=told.append)
    list(scan.detections())
    assert told
    assert all(0 <= count <= len(data) for count in told)


def test_10_000_processes_without_a_thread_leave_only_the_newest_in_a_small_table():
    starts = [process_start((10, 11), 100 + number, time=LATER + number) for number in range(10_000)]
    buffers = [buffer(*starts[at : at + 20]) for at in range(0, len(starts), 20)]
    scan = Scan([Trace(io.BytesIO(first_buffer() + b"".join(buffers)), "some.etl")], bound=16)
    assert list(scan.detections()) == []
    result = scan.result()
    assert (result.table_size, result.evictions) == (16, 9_984)
