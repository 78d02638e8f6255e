"""What a recording tells twice counts once, and nothing real is taken for it."""

import io

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etwdetect.core.events import ProcessRundown, ProcessStart, ProcessStop, ThreadStart, ThreadStop
from etwdetect.core.raw import THREAD
from etwdetect.offline import Scan
from etwdetect.sources.decode.encode import encode
from etwdetect.sources.etl.reader import Trace
from etwdetect.sources.etl.writer import SYSTEM64, TraceOptions, TraceWriter
from tests.traces_by_writer import SECOND, START, program_start

MILLISECOND = 10_000
T = START + 10 * SECOND


def trace(raws, start=START, **options):
    """Write *raws* to a trace, two CPUs taking turns, and return its bytes."""
    file = io.BytesIO()
    with TraceWriter(file, TraceOptions(start, cpus=2, **options)) as writer:
        for number, raw in enumerate(raws):
            writer.write(raw, number % 2, SYSTEM64 if raw.provider == THREAD else 0x13)
    return file.getvalue()


def scanned(*files):
    scan = Scan([Trace(io.BytesIO(data), f"{number}.etl") for number, data in enumerate(files)])
    return [hit.thread for hit in scan.detections()], scan.result()


def encoded(events):
    return [encode(event) for event in events]


def later(raws, ticks):
    return [raw._replace(time=raw.time + ticks) for raw in raws]


def by_kernel_logger(raw, ticks=3):
    return raw._replace(provider=THREAD, id=0, opcode=1, version=2, time=raw.time + ticks)


LISTED = ProcessRundown(START + 1, 100, create_time=START - 60 * SECOND, image="a.exe")
BORN, FIRST = program_start(T, 300, 301)
REMOTE = ThreadStart(T + SECOND, 100, 101, 300, 302, 0x7FF0)


@pytest.mark.parametrize("ticks", [0, 3, MILLISECOND])
def test_sessions_that_were_merged_tell_a_start_once(ticks):
    raws = encoded([LISTED, BORN, FIRST, REMOTE])
    hits, result = scanned(trace([*raws, *later(raws, ticks)]))
    assert [hit.tid for hit in hits] == [302]
    assert (result.thread_starts.seen, result.told_by_one_provider) == (2, 2)


def test_a_process_start_told_again_behind_the_first_thread_hides_no_remote_thread():
    born, first, remote = encoded([BORN, FIRST, REMOTE])
    first, remote = first._replace(time=T + 10), remote._replace(time=T + 30)
    hits, _ = scanned(trace([born, first, born._replace(time=T + 20), remote]))
    assert [hit.tid for hit in hits] == [302]


def test_an_exit_told_again_does_not_end_the_next_process_of_that_id():
    gone, born, first = encoded([ProcessStop(T, 300), BORN._replace(time=T + 1), FIRST._replace(time=T + 20)])
    raws = [*encoded([BORN._replace(time=T - SECOND), FIRST._replace(time=T - SECOND)]), gone, born, first]
    assert scanned(trace([*raws, *later(raws, 10)]))[0] == []


@pytest.mark.parametrize(
    "between",
    [
        [ThreadStop(T + SECOND + 5, 300, 302)],
        [ProcessStop(T + SECOND + 5, 300)],
    ],
    ids=["the end of the thread", "the exit of the process"],
)
def test_a_thread_with_the_same_bytes_is_another_behind_an_end(between):
    again = REMOTE._replace(time=REMOTE.time + 9)
    twice = encoded([BORN, BORN._replace(time=T + 1), FIRST])  # so several sessions are looked for
    twice[1] = twice[0]._replace(time=T + 1)
    hits, result = scanned(trace([*twice, *encoded([REMOTE, *between, again])]))
    assert [hit.time for hit in hits] == [REMOTE.time, again.time]
    assert result.told_by_one_provider == 0


def test_a_thread_start_with_other_bytes_is_another():
    remote = encode(REMOTE)
    other = remote._replace(time=remote.time + 9, payload=remote.payload[:-1] + b"\1")
    born = encode(BORN)
    hits, _ = scanned(trace([born, born._replace(time=T + 1), encode(FIRST), remote, other]))
    assert len(hits) == 2


def test_one_session_may_use_a_thread_id_again_at_once():
    again = REMOTE._replace(time=REMOTE.time + 9)
    hits, result = scanned(trace(encoded([BORN, FIRST, REMOTE, ThreadStop(REMOTE.time + 5, 300, 302), again])))
    assert (len(hits), result.told_by_one_provider) == (2, 0)


def test_of_two_providers_only_what_both_tell_is_left_out():
    raws = encoded([LISTED, BORN, FIRST, REMOTE])
    alone = by_kernel_logger(encode(REMOTE._replace(time=T + 30 * SECOND, tid=303)))
    hits, result = scanned(trace([*raws, by_kernel_logger(raws[2]), by_kernel_logger(raws[3]), alone]))
    assert [hit.tid for hit in hits] == [302, 303]
    assert (result.thread_starts.seen, result.told_by_two_providers) == (3, 2)


@pytest.mark.parametrize("start", [START, START + 5 * SECOND], ids=["one session", "two sessions"])
def test_files_that_overlap_tell_a_start_once(start):
    raws = encoded([LISTED, BORN, FIRST, REMOTE])
    hits, result = scanned(trace(raws), trace(raws[1:], start))
    assert [hit.tid for hit in hits] == [302]
    assert result.told_by_one_provider == 2


def test_files_of_one_boot_are_compared_by_their_raw_clock():
    """The second session took its StartTime 5 ms late, so all its FILETIMEs are 5 ms later."""
    raws = encoded([LISTED, BORN, FIRST, REMOTE])
    one = trace(raws)
    other = bytearray(trace(raws))
    at = other.index((START).to_bytes(8, "little"), 0x48 + 32 + 0xF8)
    other[at : at + 8] = (START + 5 * MILLISECOND).to_bytes(8, "little")
    hits, result = scanned(one, bytes(other))
    assert [hit.tid for hit in hits] == [302]
    assert result.told_by_one_provider == 2


# -- any recording, cut, merged, joined, given a second header

GAP = 2_000
"""The least time between a process and its first thread, and the least life of a thread."""


@st.composite
def recordings(draw, gap=GAP):
    """Return the events of processes that come and go, one after the other with the same id, in order.

    *gap* is the least time between a process and its first thread, and the least life of a thread.
    """
    events = [LISTED]
    for pid in draw(st.lists(st.sampled_from((300, 304)), min_size=1, max_size=2, unique=True)):
        time = T + draw(st.integers(0, SECOND // 2))
        for _ in range(draw(st.integers(1, 3))):
            events.append(ProcessStart(time, 100, 101, pid, 100, 1, time))
            time += gap + draw(st.integers(0, gap))
            events.append(ThreadStart(time, 100, 101, pid, pid + 1, 0x7FF0))
            for creator in draw(st.lists(st.sampled_from((100, pid, 4)), max_size=4)):
                time += draw(st.integers(1, SECOND))
                events.append(ThreadStart(time, creator, 101, pid, pid + 2, 0x7FF0))
                time += gap + draw(st.integers(0, gap))
                events.append(ThreadStop(time, pid, pid + 2))
            time += gap
            events.append(ProcessStop(time, pid))
            time += draw(st.integers(1, 5))  # the id is used again at once
    return sorted(events, key=lambda event: event.time)


def ids(hits):
    return {hit[:5] for hit in hits}


def check(whole, hits, window=(0, 1 << 62)):
    """Check that no record of *whole* in the *window* is missing in *hits*, and that each other has evidence."""
    first, last = window
    assert {hit[:5] for hit in whole if first <= hit.time <= last} <= ids(hits)
    assert all(hit.evidence for hit in hits if hit[:5] not in ids(whole))
    assert len(ids(hits)) == len(hits)


some = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@some
@given(recordings(), st.floats(0, 1), st.floats(0, 1))
def test_a_window_of_a_recording_has_its_records(events, one, other):
    whole, _ = scanned(trace(encoded(events)))
    length = events[-1].time - T
    first, last = sorted((T + int(one * length), T + int(other * length)))
    part = [event for event in events if first <= event.time <= last]
    check(whole, scanned(trace(encoded(part)))[0], (first, last))


@some
@given(
    st.sampled_from((GAP, SECOND // 10)).flatmap(lambda gap: st.tuples(recordings(gap), st.integers(0, gap - 1))),
    st.floats(0, 1),
    st.booleans(),
)
def test_a_recording_merged_with_a_part_of_itself_has_its_records(events_and_offset, share, behind):
    events, ticks = events_and_offset
    raws = encoded(events)
    whole, _ = scanned(trace(raws))
    again = later(raws[int(share * len(raws)) :], ticks)
    merged = [*raws, *again] if behind else sorted([*raws, *again], key=lambda raw: raw.time)
    hits, _ = scanned(trace(merged))
    check(whole, hits)


@some
@given(recordings(), st.floats(0, 1), st.floats(0, 1))
def test_a_recording_joined_with_a_part_of_itself_has_its_records(events, one, other):
    raws = encoded(events)
    whole, _ = scanned(trace(raws))
    first, last = sorted((int(one * len(raws)), int(other * len(raws))))
    hits, _ = scanned(trace(raws[:last]), trace(raws[first:]))
    check(whole, hits)


@some
@given(recordings(), st.floats(0, 1), st.booleans())
def test_a_recording_with_a_second_header_has_its_records(events, share, same):
    raws = encoded(events)
    whole, _ = scanned(trace(raws))
    at = int(share * len(raws))
    second = trace(raws[at:], START if same else START + SECOND)
    hits, result = scanned(trace(raws[:at]) + second)
    check(whole, hits)
    assert result.damages == 0
