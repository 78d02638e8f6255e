"""The logfile header: the first record of a trace, which describes the rest.

Layout: TRACE_LOGFILE_HEADER of the Windows SDK's evntrace.h, in the 32- and 64-bit forms found in files; it
follows a 32-byte system header (records.py).
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

_HEAD: Final = Struct("<III I qIIIIIIII")
_TAILS: Final = {4: (0xF0, Struct("<qqqII")), 8: (0xF8, Struct("<qqqII"))}
"""By pointer size: the offset of BootTime, and the layout of it and the four fields after it."""

_POINTER_SIZE_AT: Final = 44

CIRCULAR: Final = 0x0000_0002
APPEND: Final = 0x0000_0004
NEW_FILE: Final = 0x0000_0008
BUFFERING: Final = 0x0000_0400
"""Of LogFileMode (evntrace.h). With none of them a file has each buffer of the session, one behind the other."""


class LogfileHeader(NamedTuple):
    """The description of a trace.

    Times are FILETIMEs; *perf_freq* is in ticks per second, *cpu_mhz* in 10⁶ cycles per second. *clock* is 1 for
    the performance counter, 2 for system time, 3 for CPU cycles. The numbers of lost events and buffers are as of
    the closing of the file.
    """

    buffer_size: int
    version: int
    build: int
    cpus: int
    end_time: int
    timer_resolution: int
    maximum_file_size: int
    mode: int
    buffers_written: int
    start_buffers: int
    pointer_size: int
    events_lost: int
    cpu_mhz: int
    boot_time: int
    perf_freq: int
    start_time: int
    clock: int
    buffers_lost: int

    @property
    def finalised(self) -> bool:
        """Whether the session was closed properly; if not, the number of lost events is unknown."""
        return self.buffers_written > 0

    @property
    def is_ring(self) -> bool:
        """Whether new buffers replaced old ones, so that the beginning of the session may be missing."""
        return bool(self.mode & (CIRCULAR | BUFFERING))

    @property
    def buffers_expected(self) -> int | None:
        """How many buffers the file holds, the first one included; None where the header does not tell.

        An unfinalised log has no count. That of a ring, or of a session that wrote several files or added to one,
        counts more than is in the file, or less.
        """
        whole = self.finalised and not self.mode & (CIRCULAR | BUFFERING | APPEND | NEW_FILE)
        return self.buffers_written if whole else None

    def has_clock_of(self, other: LogfileHeader) -> bool:
        """Whether raw time stamps of *other* are of the same clock: of one boot, or of the calendar."""
        return all(getattr(self, name) == getattr(other, name) for name in ("clock", "perf_freq", "boot_time"))

    def pack(self) -> bytes:
        """Return the payload without the two names that may follow: 0x118 bytes, or 0x110 in the 32-bit form."""
        tail_at, tail = _TAILS[self.pointer_size]
        head = _HEAD.pack(*self[:13])
        return head.ljust(tail_at, b"\0") + tail.pack(*self[13:])


def parse(payload: bytes) -> LogfileHeader:
    """Parse the header in the first record's *payload*. Raises ValueError, with the reason, if it is invalid."""
    if len(payload) < _HEAD.size:
        raise ValueError("the logfile header is cut short")
    head = _HEAD.unpack_from(payload)
    pointer_size = int.from_bytes(payload[_POINTER_SIZE_AT : _POINTER_SIZE_AT + 4], "little")
    if pointer_size not in _TAILS:
        raise ValueError(f"the logfile header has an invalid pointer size of {pointer_size} bytes")
    tail_at, tail = _TAILS[pointer_size]
    if len(payload) < tail_at + tail.size:
        raise ValueError("the logfile header is cut short")
    return LogfileHeader(*head, *tail.unpack_from(payload, tail_at))
