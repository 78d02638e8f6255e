"""Writes valid .etl files, for samples, tests and parity scenarios."""

from __future__ import annotations

from dataclasses import dataclass, field
from struct import Struct
from typing import TYPE_CHECKING, BinaryIO, Final, Self

from etwdetect.core.filetime import TICKS_PER_SECOND
from etwdetect.sources.etl import compression, logfile, records
from etwdetect.sources.etl.buffers import COMPRESSED, FLUSH_MARKER, HEADER_SIZE, BufferHeader
from etwdetect.sources.etl.clock import QPC, SYSTEM_TIME, ClockConversion

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from etwdetect.core.raw import RawEvent

SYSTEM32, SYSTEM64, COMPACT32, COMPACT64 = 0x01, 0x02, 0x03, 0x04
FULL32, PERFINFO32, PERFINFO64 = 0x0A, 0x10, 0x11
EVENT_HEADER32, EVENT_HEADER64, FULL64 = 0x12, 0x13, 0x14

_MARKER_FLAGS: Final = 0xC0
_HAS_EXTENDED_ITEMS: Final = 0x01
_POINTER_FLAGS: Final = {4: 0x20, 8: 0x40}
_LEVEL_INFO: Final = 4
_CLOSED_IN_ORDER: Final = 0x0000_0001  # EVENT_TRACE_FILE_MODE_SEQUENTIAL
_COMPRESSED_MODE: Final = 0x0400_0000
_HEADER_BUFFER: Final = 4
_ANCHOR: Final = 1 << 40
"""The raw time of the first record, far from 0 so that events may precede it."""

_SYSTEM = Struct("<HBBHHIIqII")
_COMPACT = Struct("<HBBHHIIq")
_PERFINFO = Struct("<HBBHHq")
_FULL = Struct("<HBBBBHIIq16sQ")
_EVENT = Struct("<HBBHHIIq16sHBBBBHQQ16s")
_EXTENDED_ITEM = Struct("<HHHH")


def pack_record(
    event: RawEvent, time: int, header_type: int = EVENT_HEADER64, items: Sequence[tuple[int, bytes]] = ()
) -> bytes:
    """Return *event* as a record with the given header and the raw *time*, without padding at its end.

    *items* are extended items (type, data), which only an EVENT_HEADER can have; a start key is one more. The
    hook id of a kernel record follows from the event's class and opcode. Raises ValueError if the header type does
    not fit the event.
    """
    body = event.payload
    if event.start_key is not None:
        items = (*items, (records.START_KEY_ITEM, event.start_key.to_bytes(8, "little")))
    if header_type in (EVENT_HEADER32, EVENT_HEADER64):
        flags = _POINTER_FLAGS[event.pointer_size] | (_HAS_EXTENDED_ITEMS if items else 0)
        body = pack_items(items) + body
        return _EVENT.pack(
            _EVENT.size + len(body), header_type, _MARKER_FLAGS, flags, 0, event.tid, event.pid, time,
            event.provider, event.id, event.version, 0, _LEVEL_INFO, event.opcode, event.id, 0, 0, bytes(16),
        ) + body  # fmt: skip
    if items:
        raise ValueError(f"a header of type {header_type:#x} has no extended items")
    if header_type in (FULL32, FULL64):
        return _FULL.pack(
            _FULL.size + len(body), header_type, _MARKER_FLAGS, event.opcode, _LEVEL_INFO, event.version,
            event.tid, event.pid, time, event.provider, 0,
        ) + body  # fmt: skip
    start = event.version, header_type, _MARKER_FLAGS
    hook = min(records.hook_ids(event.provider, frozenset((event.opcode,))), default=None)
    if hook is None:
        raise ValueError("only process, thread and image events of the NT Kernel Logger have hook ids")
    if header_type in (PERFINFO32, PERFINFO64):
        return _PERFINFO.pack(*start, _PERFINFO.size + len(body), hook, time) + body
    if header_type in (COMPACT32, COMPACT64):
        return _COMPACT.pack(*start, _COMPACT.size + len(body), hook, event.tid, event.pid, time) + body
    if header_type in (SYSTEM32, SYSTEM64):
        return _SYSTEM.pack(*start, _SYSTEM.size + len(body), hook, event.tid, event.pid, time, 0, 0) + body
    raise ValueError(f"no record has a header of type {header_type:#x}")


def pack_items(items: Sequence[tuple[int, bytes]]) -> bytes:
    """Return extended items, (type, data) each, as they stand before the payload of an event."""
    packed = bytearray()
    for number, (kind, data) in enumerate(items, 1):
        whole = _EXTENDED_ITEM.size + len(data) + -len(data) % records.ALIGNMENT
        packed += _EXTENDED_ITEM.pack(whole, kind, number < len(items), len(data))
        packed += data.ljust(whole - _EXTENDED_ITEM.size, b"\0")
    return bytes(packed)


@dataclass(frozen=True)
class TraceOptions:
    """The options of a trace. *start_time* is a FILETIME, *method* a compression format or 0 for none.

    *unfinalised* leaves the logfile header as it is while a session runs.
    """

    start_time: int
    pointer_size: int = 8
    cpus: int = 1
    buffer_size: int = 65536
    clock: int = QPC
    perf_freq: int = 10_000_000
    cpu_mhz: int = 3000
    method: int = 0
    build: int = 19045
    events_lost: int = 0
    buffers_lost: int = 0
    unfinalised: bool = False

    def header(self, buffers_written: int, end_time: int) -> logfile.LogfileHeader:
        """Return the logfile header of such a trace."""
        return logfile.LogfileHeader(
            buffer_size=self.buffer_size,
            version=0x0501000A,
            build=self.build,
            cpus=self.cpus,
            end_time=end_time,
            timer_resolution=156250,
            maximum_file_size=0,
            mode=_CLOSED_IN_ORDER | (_COMPRESSED_MODE if self.method else 0),
            buffers_written=buffers_written,
            start_buffers=1,
            pointer_size=self.pointer_size,
            events_lost=self.events_lost,
            cpu_mhz=self.cpu_mhz,
            boot_time=self.start_time - 3600 * TICKS_PER_SECOND,
            perf_freq=self.perf_freq,
            start_time=self.start_time,
            clock=self.clock,
            buffers_lost=self.buffers_lost,
        )


@dataclass
class _OpenBuffer:
    """The buffer that a CPU is filling."""

    body: bytearray = field(default_factory=bytearray)
    flags: int = 0


class TraceWriter:
    """Writes one trace to *file*; a context manager that finishes it.

    Each CPU fills its own buffer, which is written when it is full: as in Windows, events in time order on two
    CPUs may have another order in the file.
    """

    def __init__(self, file: BinaryIO, options: TraceOptions) -> None:
        self._file = file
        self._options = options
        self._anchor = options.start_time if options.clock == SYSTEM_TIME else _ANCHOR
        self._clock = ClockConversion(options.header(0, 0), self._anchor)
        self._open: dict[int, _OpenBuffer] = {}
        self._written = 0
        self._last_time = options.start_time
        self._write_header_buffer(finished=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()

    def write(
        self,
        event: RawEvent,
        cpu: int = 0,
        header_type: int = EVENT_HEADER64,
        items: Sequence[tuple[int, bytes]] = (),
    ) -> None:
        """Write *event*, whose time is a FILETIME, on the given *cpu*."""
        self._last_time = max(self._last_time, event.time)
        self.write_record(pack_record(event, self._clock.raw(event.time), header_type, items), cpu)

    def raw_time(self, filetime: int) -> int:
        """Return the raw time stamp of *filetime*, which stacks name their event by."""
        return self._clock.raw(filetime)

    def write_record(self, record: bytes, cpu: int = 0) -> None:
        """Write the bytes of a *record* unchecked. Raises ValueError if they do not fit a buffer."""
        room = self._options.buffer_size - HEADER_SIZE
        padded = record + bytes(-len(record) % records.ALIGNMENT)
        if len(padded) > room:
            raise ValueError(f"a record of {len(record)} bytes does not fit a buffer of {room + HEADER_SIZE}")
        buffer = self._open.setdefault(cpu, _OpenBuffer())
        if len(buffer.body) + len(padded) > room:
            self.flush(cpu)
            buffer = self._open[cpu] = _OpenBuffer()
        buffer.body += padded

    def mark(self, flags: int, cpu: int = 0) -> None:
        """Set *flags* (`buffers.EVENTS_LOST`, …) in the header of the buffer that *cpu* is filling."""
        self._open.setdefault(cpu, _OpenBuffer()).flags |= flags

    def flush(self, cpu: int) -> None:
        """Write the buffer that *cpu* is filling, full or not."""
        buffer = self._open.pop(cpu, None)
        if buffer is not None:
            self._write_buffer(bytes(buffer.body), cpu, buffer.flags)

    def close(self) -> None:
        """Flush all buffers, and finish the logfile header."""
        for cpu in sorted(self._open):
            self.flush(cpu)
        if not self._options.unfinalised:
            self._file.seek(0)
            self._write_header_buffer(finished=True)
        self._file.seek(0, 2)

    def _write_buffer(self, body: bytes, cpu: int, flags: int) -> None:
        filled = HEADER_SIZE + len(body)
        size = self._options.buffer_size
        if self._options.method:
            body = compression.compress(body, self._options.method)
            size, flags = HEADER_SIZE + len(body), flags | COMPRESSED
        self._put_buffer(body, self._buffer_header(size, filled)._replace(cpu=cpu, flags=flags))
        self._written += 1

    def _buffer_header(self, size: int, filled: int) -> BufferHeader:
        state = self._options.method or compression.XPRESS  # uncompressed files have it too
        time = self._clock.raw(self._last_time)
        return BufferHeader(size, filled, time, self._written, 0, 0, state, filled, 0, 0)

    def _put_buffer(self, body: bytes, header: BufferHeader) -> None:
        self._file.write(header.pack() + body.ljust(header.size - HEADER_SIZE, b"\xff"))

    def _write_header_buffer(self, *, finished: bool) -> None:
        options = self._options
        header = options.header(self._written + 1, self._last_time) if finished else options.header(0, 0)
        # The names of the session and the file follow; both are empty here.
        payload = header.pack() + bytes(4)
        header_type = SYSTEM64 if options.pointer_size == 8 else SYSTEM32
        size = _SYSTEM.size + len(payload)
        record = _SYSTEM.pack(2, header_type, _MARKER_FLAGS, size, 0, 0, 0, self._anchor, 0, 0) + payload
        body = record + bytes(-len(record) % records.ALIGNMENT)
        # As in relogged files, the first buffer of a compressed one is small and itself not compressed.
        buffer_size = 1024 if options.method else options.buffer_size
        first = self._buffer_header(buffer_size, HEADER_SIZE + len(body))
        self._put_buffer(body, first._replace(flags=FLUSH_MARKER, kind=_HEADER_BUFFER))
