"""The callback: takes a handful of bytes of each event record from Windows, and queues them."""

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
"""How many events may wait: more than any burst that was measured, and some 60 MB at the most."""

THREAD_STOP: Final = 2
"""The opcode of a classic thread's end, which neither the rule nor the names take anything from."""

MANIFEST_IDS: Final = (1, 2, 3, 5, 6, 15)
"""Of Microsoft-Windows-Kernel-Process: all but the end of threads, 4, and what comes of other keywords."""

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
"""What is wanted, by provider: the event ids or, of classic events, whose id is 0, the opcodes."""

Fields = tuple[bytes, int, int, int, int, int, int, int, bytes]
"""The fields of a RawEvent but the last. Making an object of each is left to where it is needed."""


class Intake:
    """Takes records in the callback, on Windows' thread, and gives them back on another.

    Those of images, which are most, are kept apart. At most *bound* wait of each kind; what finds no room is
    counted in `dropped`. An exception in the callback, which ctypes would only print, is kept in `error`.
    """

    def __init__(self, bound: int = BOUND) -> None:
        self.dropped = 0
        self.error: BaseException | None = None
        self._bound = bound
        self._taken = 0
        self._events: deque[Fields] = deque()
        self._images: deque[Fields] = deque()
        self.on_record: Callable[[int], None] = self._callback()
        """Takes the event record at an address. Valid for the time of the call: so Windows promises it."""

    def __len__(self) -> int:
        """How many events wait."""
        return len(self._events) + len(self._images)

    @property
    def received(self) -> int:
        """How many events of interest Windows has delivered."""
        return self._taken + len(self) + self.dropped

    def take(self) -> list[RawEvent]:
        """Return the events that wait, but those of images, in the order in which they came."""
        return list(map(raw_event, self._drain(self._events)))

    def take_images(self) -> list[Fields]:
        """Return the events of images that wait."""
        return self._drain(self._images)

    def _drain(self, queue: deque[Fields]) -> list[Fields]:
        taken = [queue.popleft() for _ in range(len(queue))]
        self._taken += len(taken)
        return taken

    def _callback(self) -> Callable[[int], None]:
        # Each name here is looked up once, not once an event. All of the process's memory as one buffer makes the
        # copying of a payload a slice: a ctypes object for each record would cost more than all the rest.
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
            except BaseException as error:  # noqa: BLE001 (it is raised again on the other thread)
                self.error = error

        return on_record


def raw_event(fields: Fields) -> RawEvent:
    """Return the event that *fields* are of."""
    return RawEvent(*fields)
