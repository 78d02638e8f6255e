"""The event callback: copies the few fields needed from each event record, and queues them."""

from __future__ import annotations

import ctypes
import sys
from collections import deque
from struct import Struct
from typing import TYPE_CHECKING, Final

from etwdetect.core.raw import IMAGE, KERNEL_PROCESS, LOST_EVENTS, PROCESS, THREAD, RawEvent
from etwdetect.sources.decode import system_trace

if TYPE_CHECKING:
    from collections.abc import Callable

BOUND: Final = 131_072
"""The most events in a queue: more than any measured burst, and at most about 60 MB."""

THREAD_STOP: Final = 2
"""The opcode of a classic thread exit, which nothing uses."""

MANIFEST_IDS: Final = (1, 2, 3, 5, 6, 15)
"""The event ids of Microsoft-Windows-Kernel-Process that are used: all but thread exits (4) and other keywords."""

_RECORD: Final = Struct("<4xH2xIIq16sHB2xB40xH8xQ")
"""EVENT_RECORD of evntcons.h on x64, 112 bytes: Flags at 4, ThreadId, ProcessId, TimeStamp, ProviderId, then at 40
the descriptor's Id, Version and Opcode, UserDataLength at 86, UserData at 96."""

_32_BIT_HEADER: Final = 0x20

_IMAGE_IDS: Final = frozenset((5, 6))

_EVENTS: Final = {
    KERNEL_PROCESS: frozenset(MANIFEST_IDS) - _IMAGE_IDS,
    LOST_EVENTS: frozenset((32, 33, 34)),
    PROCESS: frozenset(system_trace.EVENTS[PROCESS]),
    THREAD: frozenset(system_trace.EVENTS[THREAD]) - {THREAD_STOP},
}
_IMAGES: Final = {KERNEL_PROCESS: _IMAGE_IDS, IMAGE: frozenset(system_trace.EVENTS[IMAGE])}
"""The events used, by provider: event ids, or opcodes for classic events, whose id is 0."""

Fields = tuple[bytes, int, int, int, int, int, int, int, bytes]
"""All fields of a RawEvent but the last. RawEvents are created only when they are needed."""


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
        unpack, bound, nowhere = _RECORD.unpack_from, self._bound, dict[int, deque[Fields]]()
        queues = {
            provider: {
                **dict.fromkeys(_EVENTS.get(provider, ()), self._events),
                **dict.fromkeys(_IMAGES.get(provider, ()), self._images),
            }
            for provider in (*_EVENTS, IMAGE)
        }

        def on_record(address: int) -> None:
            try:
                flags, tid, pid, time, provider, event_id, version, opcode, size, data = unpack(memory, address)
                queue = queues.get(provider, nowhere).get(event_id or opcode)
                if queue is None:
                    return
                if len(queue) >= bound:
                    self.dropped += 1
                    return
                payload = memory[data : data + size].tobytes()
                pointer_size = 4 if flags & _32_BIT_HEADER else 8
                queue.append((provider, event_id, version, opcode, time, pid, tid, pointer_size, payload))
            except BaseException as error:  # noqa: BLE001 (raised again on the other thread)
                self.error = error

        return on_record


def raw_event(fields: Fields) -> RawEvent:
    """Return *fields* as a RawEvent."""
    return RawEvent(*fields)
