"""The event callback: copies the few fields needed from each event record, and queues them."""

from __future__ import annotations

import ctypes
import sys
from collections import deque
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from etwdetect.core.raw import EVENT_TRACING, IMAGE, KERNEL_PROCESS, LOST_EVENTS, PROCESS, THREAD, RawEvent
from etwdetect.sources.decode import system_trace
from etwdetect.sources.etl.records import STACK_ITEMS, START_KEY_ITEM

if TYPE_CHECKING:
    from collections.abc import Callable

BOUND: Final = 131_072
"""The most events in a queue: more than any measured burst, and at most about 60 MB."""

THREAD_STOP: Final = 2
"""The opcode of a classic thread exit, which nothing uses."""

MANIFEST_IDS: Final = (1, 2, 3, 5, 6, 15)
"""The event ids of Microsoft-Windows-Kernel-Process that are used: all but thread exits (4) and other keywords."""

_RECORD: Final = Struct("<4xH2xIIq16sHB2xB38xHHQQ")
"""EVENT_RECORD of evntcons.h on x64, 112 bytes: Flags at 4, ThreadId, ProcessId, TimeStamp, ProviderId, then at 40
the descriptor's Id, Version and Opcode, ExtendedDataCount at 84, UserDataLength at 86, ExtendedData at 88 and
UserData at 96."""

_ITEM: Final = Struct("<2xH2xHQ")
"""EVENT_HEADER_EXTENDED_DATA_ITEM, 16 bytes: ExtType at 2, DataSize at 6, DataPtr at 8."""

_THREAD_START_ID: Final = 3

_MOST_ITEMS: Final = 16
"""How many items of an event are looked at; Windows has a dozen types of them."""

USER_PART_ID: Final = 18
"""The event of Microsoft-Windows-Kernel-EventTracing that has the user part of a call stack, and no payload."""

_32_BIT_HEADER: Final = 0x20

_IMAGE_IDS: Final = frozenset((5, 6))

_EVENTS: Final = {
    KERNEL_PROCESS: frozenset(MANIFEST_IDS) - _IMAGE_IDS,
    EVENT_TRACING: frozenset((USER_PART_ID,)),
    LOST_EVENTS: frozenset((32, 33, 34)),
    PROCESS: frozenset(system_trace.EVENTS[PROCESS]),
    THREAD: frozenset(system_trace.EVENTS[THREAD]) - {THREAD_STOP},
}
_IMAGES: Final = {KERNEL_PROCESS: _IMAGE_IDS, IMAGE: frozenset(system_trace.EVENTS[IMAGE])}
"""The events used, by provider: event ids, or opcodes for classic events, whose id is 0."""

Fields = tuple[Any, ...]
"""The first _PLAIN fields of a RawEvent, and behind them type and data of each of its stacks.

RawEvents are created only when they are needed; a flat tuple costs the garbage collector the least.
"""
_PLAIN: Final = 9


class RecordQueue:
    """Queues records in the callback, on a thread of Windows, to be taken on another thread.

    Image events, which are most of them, have a queue of their own. Each queue holds at most *bound* records;
    further ones are counted in `dropped`. An exception in the callback, which ctypes would only print, is kept in
    `error`.
    """

    def __init__(self, bound: int = BOUND) -> None:
        self.dropped = 0
        self.error: BaseException | None = None
        self._bound = bound
        self._taken = 0
        self._events: deque[Fields] = deque()
        self._images: deque[Fields] = deque()
        self.on_record: Callable[[int], None] = self._callback()
        """Takes the EVENT_RECORD at an address, which is valid only during the callback."""

    def __len__(self) -> int:
        """Return the number of queued events."""
        return len(self._events) + len(self._images)

    @property
    def received(self) -> int:
        """The number of events in use that Windows has delivered."""
        return self._taken + len(self) + self.dropped

    def take(self) -> list[RawEvent]:
        """Remove and return the queued events other than image events, in order of arrival."""
        return list(map(raw_event, self._drain(self._events)))

    def take_images(self) -> list[Fields]:
        """Remove and return the queued image events."""
        return self._drain(self._images)

    def _drain(self, queue: deque[Fields]) -> list[Fields]:
        taken = [queue.popleft() for _ in range(len(queue))]
        self._taken += len(taken)
        return taken

    def _callback(self) -> Callable[[int], None]:
        # Names are bound once, not for each event. With the whole address space as one buffer, copying a payload
        # is a slice; a ctypes object for each record would cost more than all the rest.
        memory = memoryview((ctypes.c_ubyte * sys.maxsize).from_address(0)).cast("B")
        unpack, unpack_item, stack_items = _RECORD.unpack_from, _ITEM.unpack_from, STACK_ITEMS | {START_KEY_ITEM}
        has_items = frozenset((_THREAD_START_ID, USER_PART_ID))  # a key comes with each event of a session
        bound, nowhere = self._bound, dict[int, deque[Fields]]()
        queues = {
            provider: {
                **dict.fromkeys(_EVENTS.get(provider, ()), self._events),
                **dict.fromkeys(_IMAGES.get(provider, ()), self._images),
            }
            for provider in (*_EVENTS, IMAGE)
        }

        def on_record(address: int) -> None:
            try:
                flags, tid, pid, time, provider, event_id, version, opcode, count, size, items, data = unpack(
                    memory, address
                )
                queue = queues.get(provider, nowhere).get(event_id or opcode)
                if queue is None:
                    return
                if len(queue) >= bound:
                    self.dropped += 1
                    return
                payload = memory[data : data + size].tobytes()
                pointer_size = 4 if flags & _32_BIT_HEADER else 8
                fields: Fields = provider, event_id, version, opcode, time, pid, tid, pointer_size, payload
                has_any = count and event_id in has_items
                for at in range(items, items + min(count, _MOST_ITEMS) * 16, 16) if has_any else ():
                    kind, size, data = unpack_item(memory, at)
                    if kind in stack_items:
                        fields += kind, memory[data : data + size].tobytes()
                queue.append(fields)
            except BaseException as error:  # noqa: BLE001 (raised again on the other thread)
                self.error = error

        return on_record


def raw_event(fields: Fields) -> RawEvent:
    """Return *fields* as a RawEvent."""
    if len(fields) == _PLAIN:
        return RawEvent(*fields)
    items = tuple(zip(fields[_PLAIN::2], fields[_PLAIN + 1 :: 2], strict=True))
    keys = [int.from_bytes(data, "little") for kind, data in items if kind == START_KEY_ITEM and len(data) == 8]
    stacks = tuple(item for item in items if item[0] != START_KEY_ITEM)
    return RawEvent(*fields[:_PLAIN])._replace(stacks=stacks, start_key=keys[0] if keys else None)
