"""The callback: takes a handful of bytes of each event record from Windows, and queues them."""

from __future__ import annotations

import ctypes
import sys
from collections import deque
from struct import Struct
from typing import TYPE_CHECKING, Final

from etwdetect.decode import system_trace
from etwdetect.raw import KERNEL_PROCESS, LOST_EVENTS, THREAD, RawEvent

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

_WANTED: Final = {
    KERNEL_PROCESS: frozenset(MANIFEST_IDS),
    LOST_EVENTS: frozenset((32, 33, 34)),
    **{provider: frozenset(kinds) for provider, kinds in system_trace.EVENTS.items()},
    THREAD: frozenset(system_trace.EVENTS[THREAD]) - {THREAD_STOP},
}
"""By provider: the event ids or, of classic events, whose id is 0, the opcodes."""


class Intake:
    """Takes records in the callback, on Windows' thread, and gives them back on another.

    At most *bound* wait; what finds no room is counted in `dropped`. An exception in the callback, which ctypes
    would only print, is kept in `error`, and nothing is taken any more.
    """

    def __init__(self, bound: int = BOUND) -> None:
        self.received = 0
        """The events of interest that Windows has delivered."""
        self.dropped = 0
        self.error: BaseException | None = None
        self._bound = bound
        self._queue: deque[RawEvent] = deque()
        self.on_record: Callable[[int], None] = self._callback()
        """Takes the event record at an address. Valid for the time of the call: so Windows promises it."""

    def __len__(self) -> int:
        """How many events wait."""
        return len(self._queue)

    def take(self) -> list[RawEvent]:
        """Return the events that wait, in the order in which they came."""
        return [self._queue.popleft() for _ in range(len(self._queue))]

    def _callback(self) -> Callable[[int], None]:
        # Each name here is looked up once, not once an event. All of the process's memory as one buffer makes the
        # copying of a payload a slice: a ctypes object for each record would cost more than all the rest.
        memory = memoryview((ctypes.c_ubyte * sys.maxsize).from_address(0)).cast("B")
        unpack, wanted, nothing = _RECORD.unpack_from, _WANTED.get, frozenset[int]()
        queue, bound, new, kind = self._queue, self._bound, tuple.__new__, RawEvent

        def on_record(address: int) -> None:
            if self.error is not None:
                return
            try:
                flags, tid, pid, time, provider, event_id, version, opcode, size, data = unpack(memory, address)
                if (event_id or opcode) not in wanted(provider, nothing):
                    return
                self.received += 1
                if len(queue) >= bound:
                    self.dropped += 1
                    return
                payload = bytes(memory[data : data + size])
                pointer_size = 4 if flags & _32_BIT_HEADER else 8
                fields = (provider, event_id, version, opcode, time, pid, tid, pointer_size, payload, 0)
                queue.append(new(kind, fields))
            except BaseException as error:  # noqa: BLE001 (it is raised again on the other thread)
                self.error = error

        return on_record
