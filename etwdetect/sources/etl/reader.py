"""Reads a trace file: loads buffers into a window, walks the records in it, and yields the wanted ones.

The file is read, not mapped: the process would crash if a mapped file is truncated meanwhile or its share goes
away. Memory is one window and one buffer, whatever the file's size.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Final, NamedTuple, cast

from etwdetect.core.errors import NotATraceError
from etwdetect.sources.etl import buffers, compression, logfile, records
from etwdetect.sources.etl.clock import ClockConversion
from etwdetect.sources.etl.walk import WIDE, Wanted, walk
from etwdetect.sources.etl.window import Window, with_buffers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from io import BufferedIOBase

    from etwdetect.core.raw import RawEvent
    from etwdetect.sources.etl.buffers import BufferHeader
    from etwdetect.sources.etl.window import Placed

MOST_DAMAGES_KEPT: Final = 100
"""The most damaged places that are described; further ones are only counted."""

_EVTX_MAGIC: Final = b"ElfFile\0"
_LOGFILE_RECORD_HEADER: Final = 32
_COMPRESSED_MODE: Final = 0x0400_0000
_SMALLEST_STRIDE: Final = 1024
_STACKS_AT_ONCE: Final = 4096
_UNUSED: Final = "unused space between buffers"
_HEADER_BUFFER: Final = 4

MOST_NUMBERED: Final = 1 << 18
"""Of how many buffers the sequence number is remembered, to find those that stand twice."""


class Damage(NamedTuple):
    """A damaged place in a file: the offset in bytes from its start, and what is wrong."""

    offset: int
    what: str


@dataclass
class Damages:
    """The damaged places in one file: all are counted, the first ones described."""

    count: int = 0
    described: list[Damage] = field(default_factory=list)

    def add(self, offset: int, what: str) -> None:
        """Add a damaged place, at *offset* bytes from the file's start."""
        self.count += 1
        if len(self.described) < MOST_DAMAGES_KEPT:
            self.described.append(Damage(offset, what))


class Trace:
    """One session in a trace file, open for reading.

    *file* is a seekable binary file, *name* its name in messages; the session's first buffer is at offset *begin*.
    Raises NotATraceError if it is not a trace. While `records` is iterated, *events_read*, *bytes_read* (of the
    file), *damages* and *loss_marks* (the number of buffers flagged as following a loss) grow. After it, *missing*
    buffers are known to be gone, *doubled* ones were in the file twice and read once, *following* is the session
    that begins with the next logfile header of the file, and *oldest* is the raw time by CPU from which on a ring
    (`LogfileHeader.is_ring`) has its events.
    """

    def __init__(self, file: IO[bytes], name: str, begin: int = 0) -> None:
        self.name = name
        self.damages = Damages()
        self.stopped = False
        self._file = file
        self._begin = begin
        self._end = file.seek(0, 2)
        self._start_reading()
        file.seek(begin)
        self.header, anchor, self._method = self._read_header()
        try:
            self.clock = ClockConversion(self.header, anchor)
        except ValueError as error:
            raise NotATraceError(name, str(error), buffers.HEADER_SIZE) from error

    def _start_reading(self) -> None:
        self.events_read = 0
        self.bytes_read = self._begin
        self.loss_marks = 0
        self.missing = 0
        self.doubled = 0
        self.following: Trace | None = None
        self.oldest: dict[int, int] = {}
        self._found = 0
        self.size = self._end
        self._numbered: dict[int, int] = {}
        """The offsets of buffers by sequence number."""
        self._known_damages = Damages(self.damages.count, list(self.damages.described))

    def rewind(self) -> None:
        """Let `records` begin again, and forget what it found."""
        self.damages = self._known_damages
        self._start_reading()

    def _read_header(self) -> tuple[logfile.LogfileHeader, int, int]:
        """Return the logfile header, the raw time of its record, and the compression format."""
        head = self._file.read(buffers.HEADER_SIZE)
        if not head:
            raise NotATraceError(self.name, "is empty")
        if head.startswith(_EVTX_MAGIC):
            raise NotATraceError(self.name, "is an event log (.evtx), not a trace (.etl)")
        if len(head) < buffers.HEADER_SIZE:
            raise NotATraceError(self.name, "is not a trace: it is shorter than one buffer's header")
        first = buffers.parse(head)
        fault = first.fault()
        if fault or first.compressed:
            raise NotATraceError(
                self.name, f"is not a trace: {fault or 'its first buffer is compressed'}", self._begin
            )
        body = self._file.read(min(first.filled, 1 << 16) - buffers.HEADER_SIZE)
        if len(body) < _LOGFILE_RECORD_HEADER:
            raise NotATraceError(self.name, "is cut short inside its first record", self.size)
        kind = records.KINDS[int.from_bytes(body[2:4], "little")]
        size, hook = int.from_bytes(body[4:6], "little"), int.from_bytes(body[6:8], "little")
        if kind != records.Kind.HOOKED or hook != 0:
            raise NotATraceError(
                self.name, "is not a trace: its first record is not a logfile header", buffers.HEADER_SIZE
            )
        try:
            header = logfile.parse(body[_LOGFILE_RECORD_HEADER : max(size, _LOGFILE_RECORD_HEADER)])
        except ValueError as error:
            raise NotATraceError(self.name, f"is not a trace: {error}", buffers.HEADER_SIZE) from error
        return header, int.from_bytes(body[16:24], "little", signed=True), first.state & 0xFFFF

    def stop(self) -> None:
        """Make `records` stop before the next buffer."""
        self.stopped = True

    def records(
        self,
        wanted: Wanted,
        aside: Callable[[bytearray, list[int]], None] | None = None,
        stacks: Callable[[bytes], None] | None = None,
    ) -> Iterator[RawEvent]:
        """Yield the wanted records in file order, and possibly a few of providers with similar GUIDs.

        The records to be put aside are passed to *aside*, many at once: what holds them, and where each is, at a
        multiple of 8; `etl.records.read` parses them. The bytes of those of stacks are passed to *stacks*, many at
        once, each padded to 8 bytes.
        """
        for found in self.windows(wanted, aside, stacks):
            yield from found

    def windows(
        self,
        wanted: Wanted,
        aside: Callable[[bytearray, list[int]], None] | None = None,
        stacks: Callable[[bytes], None] | None = None,
    ) -> Iterator[FoundRecords]:
        """Yield the same records, those of many buffers at once; use each before the next one is read."""
        self._known_damages = Damages(self.damages.count, list(self.damages.described))
        window = Window()
        for offset, header in self._buffers():
            if header.flags & (buffers.EVENTS_LOST | buffers.BUFFER_LOST):
                self.loss_marks += 1
            if header.filled == header.size == buffers.HEADER_SIZE:
                continue  # no records: nothing to hold, however many there are
            if not window.has_room(header.filled - buffers.HEADER_SIZE):
                yield self._found_in(window, wanted, aside, stacks)
                window.clear()
            self._place(window, offset, header)
        expected = self.header.buffers_expected
        if expected is not None and not self.stopped:
            self.missing = max(expected - self._found, 0)
        yield self._found_in(window, wanted, aside, stacks)

    def _buffers(self) -> Iterator[tuple[int, BufferHeader]]:
        """Yield each buffer's offset and header; skip invalid ones where the next one's offset is known."""
        offset = self._begin
        bad: tuple[int, str] | None = None
        while offset < self.size and not self.stopped:
            head = self._read(offset, buffers.HEADER_SIZE)
            if len(head) < buffers.HEADER_SIZE:
                bad = bad or (offset, "the file ends inside a buffer's header")
                break
            header = buffers.parse(head)
            fault = header.fault() or self._too_large(header)
            if fault is None:
                if bad:
                    self.damages.add(*bad)
                    bad = None
                if header.kind == _HEADER_BUFFER and offset > self._begin and self._ends_at(offset):
                    break
                if self._stands_twice(offset, header):
                    self.doubled += 1
                else:
                    self._found += 1
                    yield offset, header
                offset += header.size
            elif self._stride:
                bad = bad or (offset, fault if any(head) else _UNUSED)
                offset += self._stride
            else:
                bad = (offset, f"{fault}; the {self.size - offset} bytes from there on are not read")
                break
            self.bytes_read = min(offset, self.size)
        if bad and bad[1] != _UNUSED:  # an unfinalised log may end with unused space
            self.damages.add(*bad)

    def _ends_at(self, offset: int) -> bool:
        """Whether another session begins at *offset*, where a buffer with a logfile header is; keep it if so."""
        try:
            following = Trace(self._file, self.name, offset)
        except NotATraceError:
            return False  # a buffer as any other
        if following.header == self.header:
            return False  # it tells of the session that is being read
        self.following, self.size = following, offset
        return True

    def _stands_twice(self, offset: int, header: BufferHeader) -> bool:
        """Whether a buffer before *offset* has the sequence number and all bytes of this one."""
        first = self._numbered.get(header.sequence)
        if first is not None:
            return self._read(first, header.size) == self._read(offset, header.size)
        if len(self._numbered) < MOST_NUMBERED:
            self._numbered[header.sequence] = offset
        return False

    @property
    def _stride(self) -> int:
        """The distance from a buffer with a damaged header to the next one; 0 if unknown."""
        fixed = not self.header.mode & _COMPRESSED_MODE
        return self.header.buffer_size if fixed and self.header.buffer_size >= _SMALLEST_STRIDE else 0

    def _too_large(self, header: BufferHeader) -> str | None:
        if header.compressed and header.filled > max(self.header.buffer_size, _SMALLEST_STRIDE):
            return f"a compressed buffer cannot hold {header.filled} bytes in this trace"
        return None

    def _place(self, window: Window, offset: int, header: BufferHeader) -> None:
        """Add the records of the buffer at *offset* to *window*, decompressed."""
        at = offset + buffers.HEADER_SIZE
        if header.compressed:
            try:
                body = self._decompressed(offset, header)
            except ValueError as error:
                self.damages.add(offset, f"{error}; the buffer is left out")
                return
            size = window.write(body)
        else:
            size = max(min(header.filled - buffers.HEADER_SIZE, self.size - at), 0)
            size = self._read_into(window.room(size), at)
            if offset + header.size > self.size:
                self.damages.add(self.size, f"the file ends inside the buffer at offset {offset:#x}")
        window.place(offset, size, header)

    def _decompressed(self, offset: int, header: BufferHeader) -> bytes:
        """Return the decompressed records of a buffer. Raises ValueError if they are truncated or damaged."""
        body = self._read(offset + buffers.HEADER_SIZE, header.size - buffers.HEADER_SIZE)
        if offset + header.size > self.size:
            raise ValueError("the file ends inside this compressed buffer")
        return compression.decompress(body, header.filled - buffers.HEADER_SIZE, self._method)

    def _read(self, offset: int, size: int) -> bytes:
        """Return *size* bytes at *offset*, fewer if the file ends or cannot be read further."""
        try:
            self._file.seek(offset)
            return self._file.read(size)
        except OSError as error:
            self._ends(offset, error)
            return b""

    def _read_into(self, room: memoryview, offset: int) -> int:
        """Read bytes at *offset* into *room*; return how many: fewer if the file ends or can't be read further."""
        try:
            self._file.seek(offset)
            return cast("BufferedIOBase", self._file).readinto(room)
        except OSError as error:
            self._ends(offset, error)
            return 0

    def _ends(self, offset: int, error: OSError) -> None:
        self.damages.add(offset, f"the file cannot be read: {error.strerror}")
        self.size = offset

    def _found_in(
        self,
        window: Window,
        wanted: Wanted,
        aside: Callable[[bytearray, list[int]], None] | None,
        stacks: Callable[[bytes], None] | None,
    ) -> FoundRecords:
        walked = walk(window.data, [buffer.span for buffer in window.placed], wanted)
        self.events_read += walked.records
        if self.header.is_ring:
            self._find_oldest(window)
        reasons = dict(walked.broken)
        for at, buffer in with_buffers(reasons, window.placed):
            self._damaged(buffer, at, f"{reasons[at]}; the rest of the buffer is left out")
        data = window.data
        if aside is not None and walked.aside:
            aside(data, walked.aside)
        for first in range(0, len(walked.stacks), _STACKS_AT_ONCE):
            if stacks is None:
                break
            at_once = walked.stacks[first : first + _STACKS_AT_ONCE]
            stacks(records.padded(data, at_once, hooked=True)[0])
        return FoundRecords(self, window, walked.found)

    def _find_oldest(self, window: Window) -> None:
        for span, offset, _, cpu in window.placed:
            if offset > self._begin and span.end - span.start >= records.SMALLEST_WITH_TIME:
                time = records.raw_time(window.data, span.start)
                if time is not None:
                    self.oldest[cpu] = min(time, self.oldest.get(cpu, time))

    def _damaged(self, buffer: Placed, at: int, what: str) -> None:
        where = f", {at - buffer.span.start:#x} bytes into the decompressed buffer" if buffer.compressed else ""
        self.damages.add(buffer.file_offset(at), what + where)


class FoundRecords:
    """The wanted records of one window: at the offsets *at* in *data*, in ascending order."""

    def __init__(self, trace: Trace, window: Window, at: list[int]) -> None:
        self.data = window.data
        self.at = at
        self.is_wide = len(window.placed) >= WIDE
        """Whether there are so many buffers that numpy is loaded anyway."""
        self._trace = trace
        self._placed = window.placed

    def __iter__(self) -> Iterator[RawEvent]:
        """Yield the records."""
        return (raw for _, raw in self.parsed(self.at))

    def parsed(self, at: Iterable[int]) -> Iterator[tuple[int, RawEvent]]:
        """Yield the records at the offsets *at*, which ascend, behind their offset; the others are damaged."""
        for each, buffer in with_buffers(at, self._placed):
            try:
                yield each, records.read(self.data, each, self._trace.clock, buffer.file_offset(each))
            except ValueError as error:
                self._trace._damaged(buffer, each, f"{error}; the record is left out")  # noqa: SLF001 (its part)
