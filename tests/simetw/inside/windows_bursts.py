"""Many events: in one call, again and again, at a rate, and a trace replayed."""

import itertools
from pathlib import Path
from struct import unpack_from

import pytest

from etwdetect.core.events import ImageLoad
from etwdetect.live.clock import filetime_now
from etwdetect.sources.decode.encode import encode
from parity_tests.simulators.packed_events import pack_events
from parity_tests.simulators.simetw import RunningId
from tests.simetw.inside.tracing import (
    FLUSH,
    MS_FLUSH,
    REAL_TIME,
    consuming,
    control,
    enable,
    query,
    start,
    thread_start,
    tid_of,
)

SAMPLE = Path(__file__).resolve().parents[3] / "samples" / "windbg-attach.etl"
TID_AT = 4


@pytest.fixture
def session(machine):
    error, handle, _ = start(
        "One",
        LogFileMode=REAL_TIME | MS_FLUSH,
        FlushTimer=10,
        BufferSize=256,
        MinimumBuffers=16,
        MaximumBuffers=64,
    )
    assert (error, enable(handle)) == (0, 0)
    return machine


def test_a_hundred_thousand_events_in_one_call_arrive_in_their_order(session):
    with consuming("One") as consumer:
        session.log_packed(pack_events(thread_start(tid) for tid in range(50_000)))
        consumer.wait_for(50_000)
    assert [tid_of(seen) for seen in consumer.events] == list(range(50_000))


def test_repeated_events_have_running_ids(session):
    image = encode(ImageLoad(0, 20, 0x10000, 0x1000))
    with consuming("One") as consumer:
        session.repeat(
            [image, thread_start(1000), image], 5000, running=[RunningId(1, TID_AT)], wait_for_consumer=True
        )
        consumer.wait_for(15_000)
    assert [seen.id for seen in consumer.events[:6]] == [5, 3, 5] * 2
    assert [tid_of(seen) for seen in consumer.events if seen.id == 3] == list(range(1000, 21_000, 4))
    assert query("One").EventsLost == query("One").RealTimeBuffersLost == 0


def test_a_burst_waits_for_the_consumer_where_it_is_told_to(machine):
    error, handle, _ = start("One", BufferSize=4, MaximumBuffers=8)
    assert (error, enable(handle)) == (0, 0)
    with consuming("One") as consumer:
        machine.repeat([thread_start(1)], 5000, wait_for_consumer=True)
        control("One", FLUSH)
        consumer.wait_for(5000)
        assert query("One").RealTimeBuffersLost == 0
        consumer.hold()
        machine.repeat([thread_start(1)], 5000)
        assert query("One").RealTimeBuffersLost > 0


def test_a_rate_is_kept(session):
    with consuming("One") as consumer:
        session.repeat([thread_start(1)], 200, events_per_second=1000)
        consumer.wait_for(200)
    assert consumer.events[-1].time - consumer.events[0].time >= 150 * 10_000, "200 events at 1,000 a second"


def test_a_running_id_outside_of_its_payload_is_refused(session):
    with pytest.raises(OSError, match="13"):
        session.repeat([thread_start(1)], 1, running=[RunningId(0, 66)])
    with pytest.raises(OSError, match="13"):
        session.repeat([thread_start(1)], 1, running=[RunningId(1, 0)])


def test_events_that_do_not_add_up_are_refused(session):
    with pytest.raises(OSError, match="13"):
        session.log_packed(pack_events([thread_start(1)])[:-1])


def test_a_replay_keeps_the_distances_at_its_speed(session):
    first = 134_000_000_000_000_000
    events = [thread_start(number, first + number * 10_000_000) for number in range(5)]
    with consuming("One") as consumer:
        began = filetime_now()
        assert session.replay(events, speed=10) == 5
        consumer.wait_for(5)
    times = [seen.time for seen in consumer.events]
    assert [later - earlier for earlier, later in itertools.pairwise(times)] == [1_000_000] * 4
    assert abs(times[0] - began) < 10_000_000


def test_a_trace_is_replayed(session):
    with consuming("One") as consumer:
        count = session.replay_trace(SAMPLE, speed=1000)
        consumer.wait_for(count)
    assert len(consumer.events) == count
    remote = [seen for seen in consumer.events if seen.id == 3 and unpack_from("<I", seen.payload)[0] != seen.pid]
    assert remote
