import ctypes
import struct

import pytest

from etwdetect.core.events import ImageLoad, ImageUnload, ProcessStart, ThreadStart, ThreadStop
from etwdetect.core.raw import EVENT_TRACING, IMAGE, THREAD, RawEvent
from etwdetect.live.callback import RecordQueue
from etwdetect.sources.decode.encode import encode

_RECORD = struct.Struct("<HHHHIIq16sHBBBBHQ8s16s4sHHQQQ")
"""EVENT_RECORD of evntcons.h, field by field: the header, BufferContext, the counts and the pointers."""


def give(queue, raw, flags=0x40):
    """Call the callback with *raw* as an event record, which is there for as long as the call takes."""
    record = Record(raw, flags)
    queue.on_record(record.address)


class Record:
    """An event record in memory, as Windows hands it over."""

    def __init__(self, raw, flags):
        self._payload = ctypes.create_string_buffer(raw.payload)
        self._data = [ctypes.create_string_buffer(data, len(data)) for _, data in raw.stacks]
        items = b"".join(
            struct.pack("<HHHHQ", 0, kind, 0, len(data), ctypes.addressof(kept))
            for (kind, data), kept in zip(raw.stacks, self._data, strict=True)
        )
        self._items = ctypes.create_string_buffer(items, len(items) + 1)
        descriptor = raw.id, raw.version, 0, 4, raw.opcode, 0, 0
        self._record = ctypes.create_string_buffer(
            _RECORD.pack(
                112, 0, flags, 0, raw.tid, raw.pid, raw.time, raw.provider, *descriptor, b"", b"", b"",
                len(raw.stacks), len(raw.payload), *map(ctypes.addressof, (self._items, self._payload)), 0,
            )
        )  # fmt: skip
        self.address = ctypes.addressof(self._record)


EVENTS = [ProcessStart(7, 1, 2, 3, 1, image="a.exe"), ThreadStart(8, 1, 2, 3, 4, 0x1000)]


def test_the_record_is_112_bytes():
    assert _RECORD.size == 112


@pytest.mark.parametrize("event", EVENTS)
def test_a_record_comes_out_as_the_event_that_it_is(event):
    queue = RecordQueue()
    raw = encode(event)
    give(queue, raw)
    assert queue.take_images() == []
    assert queue.take() == [raw]
    assert (queue.received, queue.dropped, queue.error, len(queue)) == (1, 0, None, 0)


def test_a_32_bit_header_has_short_pointers():
    queue = RecordQueue()
    give(queue, encode(EVENTS[0], 4), flags=0x20)
    assert queue.take()[0].pointer_size == 4


def test_a_classic_event_is_known_by_its_opcode():
    queue = RecordQueue()
    raw = RawEvent(THREAD, 0, 3, 1, 9, 1, 2, 8, bytes(72))
    give(queue, raw)
    give(queue, raw._replace(opcode=2))  # the end of a thread
    assert queue.take() == [raw]


def test_what_nothing_is_taken_from_is_left_out():
    queue = RecordQueue()
    give(queue, encode(ThreadStop(1, 2, 3)))
    give(queue, encode(EVENTS[0])._replace(provider=bytes(16)))
    assert queue.take() == []
    assert queue.received == 0


def test_what_finds_no_room_is_counted_and_what_waits_is_kept():
    queue = RecordQueue(bound=2)
    raws = [encode(ThreadStart(8, 1, 2, 3, tid)) for tid in range(5)]
    for raw in raws:
        give(queue, raw)
    assert (queue.received, queue.dropped) == (5, 3)
    assert queue.take() == raws[:2]
    give(queue, raws[4])
    assert queue.take() == [raws[4]]


def test_an_error_in_the_callback_is_kept():
    queue = RecordQueue()
    queue.on_record("no address")
    assert isinstance(queue.error, TypeError)


def test_image_events_are_kept_apart():
    queue = RecordQueue()
    raws = [encode(ImageLoad(1, 7, 0x1000, 0x100)), encode(ImageUnload(2, 7, 0x1000, 0x100))]
    raws.append(RawEvent(IMAGE, 0, 2, 10, 1, 2, 3, 8, bytes(40)))
    for raw in raws:
        give(queue, raw)
    assert len(queue) == queue.received == 3
    assert queue.take() == []
    assert [RawEvent(*fields) for fields in queue.take_images()] == raws
    assert (len(queue), queue.received) == (0, 3)


def test_the_stacks_among_the_extended_items_are_kept_and_nothing_else_of_them():
    queue = RecordQueue()
    raw = encode(EVENTS[1])._replace(stacks=((6, bytes(24)), (13, bytes(8)), (18, bytes(16))))
    give(queue, raw)
    assert queue.take() == [raw._replace(stacks=((6, bytes(24)), (18, bytes(16))), start_key=0)]


def test_a_start_key_has_eight_bytes():
    queue = RecordQueue()
    raw = encode(EVENTS[1])
    for data in (b"\xff" * 8, b"", bytes(7), bytes(9)):
        give(queue, raw._replace(stacks=((13, data),)))
    assert [each.start_key for each in queue.take()] == [2**64 - 1, None, None, None]


def test_of_events_that_are_no_thread_starts_no_item_is_kept():
    queue = RecordQueue()
    raw = encode(EVENTS[0])
    give(queue, raw._replace(stacks=((13, bytes(8)), (6, bytes(24)))))
    assert queue.take() == [raw]


def test_the_event_with_the_user_part_of_a_stack_is_kept():
    queue = RecordQueue()
    raw = RawEvent(EVENT_TRACING, 18, 0, 0, 9, 1, 2, 8, b"", stacks=((6, bytes(24)),))
    give(queue, raw)
    give(queue, raw._replace(id=14))
    assert queue.take() == [raw]
