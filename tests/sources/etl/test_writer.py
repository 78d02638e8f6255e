"""What the writer writes, read by readers that are not ours.

Extended items have no such reader: dissect.etl hands them over as payload and etl-parser drops them, so their
bytes are compared with bytes written by hand.
"""

import io
from uuid import UUID

import pytest
from dissect.etl import ETL

from etwdetect.core.events import ProcessStart, ThreadStart
from etwdetect.core.raw import KERNEL_PROCESS, THREAD
from etwdetect.sources.decode.encode import encode
from etwdetect.sources.etl import compression
from etwdetect.sources.etl.clock import CPU_CYCLES, QPC, SYSTEM_TIME
from etwdetect.sources.etl.reader import Trace
from etwdetect.sources.etl.walk import Wanted
from etwdetect.sources.etl.writer import (
    COMPACT64,
    EVENT_HEADER32,
    FULL32,
    FULL64,
    PERFINFO64,
    SYSTEM32,
    SYSTEM64,
    TraceOptions,
    TraceWriter,
    pack_record,
)

PROVIDER = UUID("22fb2cd6-0e7b-422b-a0c7-2fad1fd0e716")
SWAPPED_BY_DISSECT = UUID(bytes=PROVIDER.bytes_le)
START = 132_337_152_000_000_000
EVERYTHING = Wanted(range(1 << 16), (KERNEL_PROCESS, THREAD))

EVENTS = [
    event
    for number in range(300)
    for event in (
        ProcessStart(START + number * 1000, 100, 101, 300 + number, 100, 1, START, image="C:\\a.exe"),
        ThreadStart(START + number * 1000 + 7, 100, 101, 300 + number, 301 + number, 0x7FFE0000),
    )
]


def written(cpus=1, **options):
    file = io.BytesIO()
    with TraceWriter(file, TraceOptions(START, cpus=cpus, buffer_size=8192, **options)) as writer:
        for number, event in enumerate(EVENTS):
            writer.write(encode(event, options.get("pointer_size", 8)), cpu=number % cpus)
    return file.getvalue()


def read_with_etl_parser(trace):
    """Return the events of *trace*."""
    from etl.etl import IEtlFileObserver, build_from_stream  # noqa: PLC0415 (takes 5 s)

    class Collector(IEtlFileObserver):
        def __init__(self):
            self.events = []

        def on_event_record(self, event):
            self.events.append(event)

        def on_trace_record(self, event):
            raise AssertionError(event)

        on_perfinfo_trace = on_system_trace = on_win_trace = on_trace_record

    collector = Collector()
    build_from_stream(trace).parse(collector)
    return collector.events


def facts(events):
    """Event id, header pid and tid, and raw time of each, in file order."""
    return [
        (
            event.source.event_header.event_descriptor.Id,
            event.source.event_header.process_id,
            event.source.event_header.thread_id,
            event.source.event_header.timestamp,
            bytes(event.source.user_data),
        )
        for event in events
    ]


@pytest.mark.slow
@pytest.mark.parametrize("cpus", [1, 5])
def test_etl_parser_reads_every_field_of_a_plain_trace(cpus):
    # It takes every logfile header for a 64-bit one, so a 32-bit trace is left to dissect.etl.
    events = read_with_etl_parser(written(cpus))
    expected = [
        (raw.id, raw.pid, raw.tid, (1 << 40) + raw.time - START, raw.payload) for raw in map(encode, EVENTS)
    ]
    if cpus == 1:
        assert facts(events) == expected
    assert sorted(facts(events)) == sorted(expected)


@pytest.mark.parametrize("pointer_size", [4, 8])
@pytest.mark.parametrize("method", [0, compression.XPRESS])
@pytest.mark.parametrize("cpus", [1, 5])
def test_dissect_reads_as_many_records_with_the_same_headers(cpus, method, pointer_size):
    records = iter(ETL(io.BytesIO(written(cpus, method=method, pointer_size=pointer_size))))
    next(records)  # the logfile header's
    found = sorted((each.header.process_id, each.header.thread_id, each.header.provider_id) for each in records)
    assert found == sorted((event.creator_pid, event.creator_tid, SWAPPED_BY_DISSECT) for event in EVENTS)


@pytest.mark.parametrize("clock", [QPC, SYSTEM_TIME, CPU_CYCLES])
@pytest.mark.parametrize("method", [0, compression.LZNT1, compression.XPRESS, compression.XPRESS_HUFFMAN])
def test_our_reader_gets_back_what_was_written(method, clock):
    data = written(3, method=method, clock=clock)
    trace = Trace(io.BytesIO(data), "test")
    raws = sorted(raw._replace(offset=0) for raw in trace.records(EVERYTHING) if raw.provider == KERNEL_PROCESS)
    assert raws == sorted(encode(event) for event in EVENTS)
    assert trace.damages.count == 0


def test_an_unfinalised_trace_is_read_to_its_end():
    trace = Trace(io.BytesIO(written(unfinalised=True)), "test")
    assert not trace.header.finalised
    assert sum(raw.provider == KERNEL_PROCESS for raw in trace.records(EVERYTHING)) == len(EVENTS)


def test_events_of_several_cpus_stand_out_of_order_in_the_file():
    trace = Trace(io.BytesIO(written(5)), "test")
    times = [raw.time for raw in trace.records(EVERYTHING)]
    assert times != sorted(times)


def test_extended_items_are_the_bytes_of_the_format():
    raw = encode(ThreadStart(START, 100, 101, 300, 301))
    record = pack_record(raw, 77, items=[(6, b"ABCDE"), (12, b"")])
    assert record[2:6] == b"\x13\xc0\x41\x00"
    assert record[80:104] == bytes.fromhex("1000 0600 0100 0500 4142434445 000000 0800 0c00 0000 0000")
    assert record[104:] == raw.payload
    assert int.from_bytes(record[:2], "little") == len(record)


def test_extended_items_are_stepped_over_when_read():
    file = io.BytesIO()
    with TraceWriter(file, TraceOptions(START)) as writer:
        writer.write(encode(EVENTS[1]), items=[(6, b"stack" * 9), (12, b"x")])
    (raw,) = (raw for raw in Trace(file, "test").records(EVERYTHING) if raw.provider == KERNEL_PROCESS)
    assert raw._replace(offset=0, stacks=()) == encode(EVENTS[1])
    assert raw.stacks == ((6, b"stack" * 9),)


@pytest.mark.parametrize("header_type", [SYSTEM32, SYSTEM64, COMPACT64, PERFINFO64, FULL32, FULL64])
def test_classic_headers_carry_the_event_too(header_type):
    raw = encode(EVENTS[1])._replace(provider=THREAD, id=0, opcode=1, version=2)
    file = io.BytesIO()
    with TraceWriter(file, TraceOptions(START)) as writer:
        writer.write(raw, header_type=header_type)
    (read,) = (each for each in Trace(file, "test").records(EVERYTHING) if each.provider == THREAD)
    assert (read.opcode, read.version, read.payload, read.time) == (1, 2, raw.payload, raw.time)
    assert (read.pid, read.tid) == ((0xFFFFFFFF,) * 2 if header_type == PERFINFO64 else (raw.pid, raw.tid))
    assert read.pointer_size == (4 if header_type in (SYSTEM32, FULL32) else 8)


def test_what_no_header_can_carry_is_refused():
    raw = encode(EVENTS[0])
    with pytest.raises(ValueError, match="hook ids"):
        pack_record(raw, 1, SYSTEM64)
    with pytest.raises(ValueError, match="extended items"):
        pack_record(raw, 1, FULL64, [(1, b"")])
    with pytest.raises(ValueError, match="no record has a header"):
        pack_record(raw._replace(provider=THREAD), 1, 0x7F)
    assert len(pack_record(raw, 1, EVENT_HEADER32)) == 80 + len(raw.payload)


def test_a_record_larger_than_a_buffer_is_refused():
    with pytest.raises(ValueError, match="does not fit"):
        TraceWriter(io.BytesIO(), TraceOptions(START, buffer_size=4096)).write_record(bytes(4096))
