"""The logfile header: TRACE_LOGFILE_HEADER at the offsets of its 32- and its 64-bit form."""

import pytest

from etwdetect.sources.etl import logfile
from tests.bytes_by_hand import START_TIME, logfile_payload

SIZES = pytest.mark.parametrize("pointer_size", [4, 8])


@SIZES
def test_the_fields_stand_at_their_offsets(pointer_size):
    payload = logfile_payload(
        pointer_size=pointer_size,
        clock=3,
        perf_freq=3_579_545,
        cpu_mhz=2400,
        buffer_size=65536,
        mode=0x0400_0001,
        buffers_written=17,
        events_lost=3,
        buffers_lost=2,
    )
    header = logfile.parse(payload)
    assert (header.clock, header.perf_freq, header.cpu_mhz, header.start_time) == (3, 3_579_545, 2400, START_TIME)
    assert (header.buffer_size, header.mode, header.buffers_written) == (65536, 0x0400_0001, 17)
    assert (header.events_lost, header.buffers_lost, header.pointer_size) == (3, 2, pointer_size)
    assert (header.build, header.cpus, header.end_time) == (19045, 2, START_TIME + 600_000_000)
    assert header.boot_time == START_TIME - 36_000_000_000


@pytest.mark.parametrize(("pointer_size", "lost_at"), [(4, 0x10C), (8, 0x114)])
def test_lost_buffers_stand_where_the_pointer_size_puts_them(pointer_size, lost_at):
    payload = bytearray(logfile_payload(pointer_size=pointer_size))
    payload[lost_at] = 9
    assert logfile.parse(payload).buffers_lost == 9


@SIZES
def test_a_header_that_is_packed_and_parsed_is_the_same(pointer_size):
    header = logfile.parse(logfile_payload(pointer_size=pointer_size, events_lost=3))
    assert len(header.pack()) == {4: 0x110, 8: 0x118}[pointer_size]
    assert logfile.parse(header.pack()) == header


@pytest.mark.parametrize(("written", "finalised"), [(0, False), (1, True)])
def test_a_log_without_written_buffers_was_not_finalised(written, finalised):
    assert logfile.parse(logfile_payload(buffers_written=written)).finalised is finalised


@pytest.mark.parametrize(("pointer_size", "least"), [(4, 0x110), (8, 0x118)])
def test_a_header_cut_short_anywhere_is_an_error(pointer_size, least):
    payload = logfile_payload(pointer_size=pointer_size)
    logfile.parse(payload[:least])
    for length in (0, 1, 0x2F, 0x30, 0x37, 0x38, 0xF0, least - 1):
        with pytest.raises(ValueError, match="the logfile header is cut short"):
            logfile.parse(payload[:length])


@pytest.mark.parametrize("pointer_size", [0, 1, 16, 0xFFFFFFFF])
def test_pointers_of_another_size_than_4_or_8_are_an_error(pointer_size):
    payload = bytearray(logfile_payload())
    payload[0x2C:0x30] = pointer_size.to_bytes(4, "little")
    with pytest.raises(ValueError, match=f"has an invalid pointer size of {pointer_size} bytes"):
        logfile.parse(payload)
