"""When events come, in which order, and which are lost: buffers, the flush timer, and who is too slow."""

import time

import pytest

from etwdetect.core.raw import LOST_EVENTS
from etwdetect.live.clock import filetime_now
from parity_tests.simulators.simetw import NEVER_DRAINED, FlushFlag, Setting
from tests.simetw.inside.tracing import (
    FLUSH,
    MS_FLUSH,
    ONE_BUFFER_FOR_ALL,
    REAL_TIME,
    STOP,
    UPDATE,
    consuming,
    control,
    enable,
    query,
    start,
    thread_start,
    tid_of,
    until,
)

INVALID = 87
LATER = 60
"""A flush timer that does not fire during a test, in seconds."""

A_WHILE = 0.3
RECORD = 152
"""Bytes that a thread start takes of a buffer: 80 for the header, 68 of payload, 4 to a multiple of 8."""

BUFFER_HEADER = 72
IN_4_KB = (4096 - BUFFER_HEADER) // RECORD


def started(name="One", **values):
    error, handle, _ = start(name, **values)
    assert error == 0
    assert enable(handle) == 0
    return handle


def starts(first, count):
    return [thread_start(tid) for tid in range(first, first + count)]


def test_a_full_buffer_is_delivered_and_the_rest_waits(machine):
    started(BufferSize=4, FlushTimer=LATER)
    with consuming("One") as consumer:
        machine.log(starts(0, IN_4_KB))
        time.sleep(A_WHILE)
        assert consumer.events == []
        machine.log(starts(IN_4_KB, 1))
        assert [tid_of(seen) for seen in consumer.wait_for(IN_4_KB)] == list(range(IN_4_KB))
        time.sleep(A_WHILE)
        assert len(consumer.events) == IN_4_KB
        control("One", FLUSH)
        consumer.wait_for(IN_4_KB + 1)
    assert query("One").BuffersWritten == 2


def test_the_flush_timer_is_one_second_where_none_is_asked_for(machine):
    started()
    assert query("One").FlushTimer == 1
    with consuming("One") as consumer:
        machine.log(starts(0, 1))
        consumer.wait_for(1)


def test_the_flush_timer_counts_milliseconds_with_the_flag(machine):
    started(LogFileMode=REAL_TIME | MS_FLUSH, FlushTimer=LATER)
    with consuming("One") as consumer:
        machine.log(starts(0, 1))
        consumer.wait_for(1)


def test_a_windows_that_ignores_the_flag_counts_seconds(machine):
    machine.set(Setting.MILLISECOND_FLUSH, FlushFlag.IGNORED)
    started(LogFileMode=REAL_TIME | MS_FLUSH, FlushTimer=LATER)
    with consuming("One") as consumer:
        machine.log(starts(0, 1))
        time.sleep(A_WHILE)
        assert consumer.events == []


def test_a_windows_that_refuses_the_flag_starts_no_such_session(machine):
    machine.set(Setting.MILLISECOND_FLUSH, FlushFlag.REFUSED)
    assert start("One", LogFileMode=REAL_TIME | MS_FLUSH, FlushTimer=LATER)[0] == INVALID
    assert start("One", FlushTimer=LATER)[0] == 0


def test_the_flush_timer_can_be_updated(machine):
    started(FlushTimer=LATER)
    with consuming("One") as consumer:
        assert control("One", UPDATE, FlushTimer=1)[0] == 0
        assert query("One").FlushTimer == 1
        machine.log(starts(0, 1))
        consumer.wait_for(1)


def test_events_of_two_cpus_come_out_of_order(machine):
    started(FlushTimer=LATER)
    with consuming("One") as consumer:
        machine.log(starts(0, 6), cpus=lambda event: event.payload[4] % 2)
        control("One", FLUSH)
        consumer.wait_for(6)
    assert [(seen.cpu, tid_of(seen)) for seen in consumer.events] == [
        (0, 0),
        (0, 2),
        (0, 4),
        (1, 1),
        (1, 3),
        (1, 5),
    ]
    assert sorted(consumer.events, key=lambda seen: seen.time) == sorted(consumer.events, key=tid_of)


def test_one_buffer_for_all_cpus_keeps_the_order(machine):
    machine.set(Setting.CPUS, 8)
    started(LogFileMode=REAL_TIME | ONE_BUFFER_FOR_ALL, FlushTimer=LATER)
    with consuming("One") as consumer:
        machine.log(starts(0, 16), cpus=lambda event: event.payload[4] % 8)
        control("One", FLUSH)
        assert [tid_of(seen) for seen in consumer.wait_for(16)] == list(range(16))


@pytest.mark.parametrize(
    ("asked", "minimum", "maximum"),
    [
        ({}, 8, 28),
        ({"MinimumBuffers": 3, "MaximumBuffers": 5}, 8, 8),
        ({"MinimumBuffers": 10, "MaximumBuffers": 50}, 10, 50),
        ({"LogFileMode": REAL_TIME | ONE_BUFFER_FOR_ALL}, 2, 22),
    ],
)
def test_there_are_two_buffers_for_each_cpu_at_the_least(machine, asked, minimum, maximum):
    machine.set(Setting.CPUS, 4)
    started(**asked)
    properties = query("One")
    assert (properties.MinimumBuffers, properties.MaximumBuffers) == (minimum, maximum)
    assert properties.NumberOfBuffers == properties.FreeBuffers == minimum


def test_events_are_lost_when_no_buffer_is_free(machine):
    machine.set(Setting.LOGGER_DELAY, NEVER_DRAINED)
    started(BufferSize=4, MinimumBuffers=4, MaximumBuffers=6, FlushTimer=LATER)
    machine.log(starts(0, IN_4_KB * 6 + 10))
    properties = query("One")
    assert (properties.EventsLost, properties.NumberOfBuffers, properties.FreeBuffers) == (10, 6, 0)
    with consuming("One") as consumer:
        machine.set(Setting.LOGGER_DELAY, 0)
        consumer.wait_for(1 + IN_4_KB * 6)
        machine.log(starts(1000, 1))
        assert control("One", STOP)[1].fields.EventsLost == 10
        consumer.wait_for_end()
    assert [seen.opcode for seen in consumer.events if seen.provider == LOST_EVENTS] == [32]
    others = [tid_of(seen) for seen in consumer.events if seen.provider != LOST_EVENTS]
    assert others == [*range(IN_4_KB * 6), 1000]


def test_a_buffer_is_free_again_after_the_logger_s_delay(machine):
    machine.set(Setting.LOGGER_DELAY, 20)
    started(BufferSize=4, MinimumBuffers=4, MaximumBuffers=4, FlushTimer=LATER)
    with consuming("One") as consumer:
        for batch in range(4):
            machine.log(starts(batch * 100, IN_4_KB * 3))
            until(lambda: query("One").FreeBuffers >= 3)
        consumer.wait_for(IN_4_KB * 3 * 4 - IN_4_KB)
    assert query("One").EventsLost == 0


def test_buffers_are_lost_when_the_consumer_is_too_slow(machine):
    machine.set(Setting.BACKLOG, 5)
    started(BufferSize=4, FlushTimer=LATER)
    with consuming("One") as consumer:
        consumer.hold()
        machine.log(starts(0, IN_4_KB + 1))  # the first buffer is with the consumer, which holds on to it
        until(lambda: consumer.entered)
        machine.log(starts(0, IN_4_KB * 8))
        properties = query("One")
        assert (properties.RealTimeBuffersLost, properties.EventsLost) == (3, 0)
        consumer.release()
        consumer.wait_for(IN_4_KB * 6)
        machine.log(starts(500, 1))
        control("One", FLUSH)
        until(lambda: consumer.events[-1].provider != LOST_EVENTS and tid_of(consumer.events[-1]) == 500)
    lost = [seen for seen in consumer.events if seen.provider == LOST_EVENTS]
    assert [(seen.opcode, seen.payload) for seen in lost] == [(33, b"")]


def test_without_a_consumer_buffers_wait_until_there_are_too_many(machine):
    started(BufferSize=4, MinimumBuffers=4, MaximumBuffers=6, FlushTimer=LATER)
    machine.log(starts(0, IN_4_KB * 9 + 1))
    assert query("One").RealTimeBuffersLost == 3
    with consuming("One") as consumer:
        consumer.wait_for(IN_4_KB * 6)
    assert [tid_of(seen) for seen in consumer.events] == list(range(IN_4_KB * 6))


def test_an_event_larger_than_a_buffer_is_lost(machine):
    started(BufferSize=4)
    machine.log([thread_start(1)._replace(payload=bytes(5000))])
    assert query("One").EventsLost == 1


@pytest.mark.parametrize("clock", [0, 1, 2, 3])
def test_times_are_filetimes_whatever_the_session_s_clock(machine, clock):
    given = 134_000_000_000_000_000
    started(clock=clock, FlushTimer=LATER)
    before = filetime_now()
    machine.log([thread_start(1, given), thread_start(2)])
    after = filetime_now()
    with consuming("One") as consumer:
        control("One", FLUSH)
        first, second = consumer.wait_for(2)
    assert abs(first.time - given) <= 1
    # The system time that Python reads goes in steps, and the session's clock was set when it began.
    assert before - 1_000_000 <= second.time <= after + 1_000_000


def test_raw_times_are_those_of_the_performance_counter(machine):
    started(FlushTimer=LATER)
    before = time.perf_counter_ns()
    machine.log(starts(0, 1))
    after = time.perf_counter_ns()
    with consuming("One", raw=True) as consumer:
        control("One", FLUSH)
        (event,) = consumer.wait_for(1)
        header = consumer.logfile.LogfileHeader
    assert before <= event.time * (1_000_000_000 // header.PerfFreq) <= after
    assert header.ReservedFlags == 1


def test_the_buffer_callback_is_told_of_each_buffer_and_can_end_it(machine):
    filled = []

    def callback(logfile):
        filled.append(logfile.contents.Filled)
        return len(filled) < 2

    started(BufferSize=4, FlushTimer=LATER)
    with consuming("One", buffer_callback=callback) as consumer:
        machine.log(starts(0, IN_4_KB * 3))
        assert consumer.wait_for_end() == 1223  # ERROR_CANCELLED
    assert filled == [BUFFER_HEADER + IN_4_KB * RECORD] * 2
    assert len(consumer.events) == IN_4_KB * 2
