"""Reads a trace file: buffer by buffer into a window, the window's records walked, the wanted ones handed on.

The file is read, not mapped: a mapped file that is cut short meanwhile, or whose share goes away, kills the
process. Memory is one window and one buffer, whatever the file's size.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Final, NamedTuple

from etwdetect.core.errors import NotATraceError
from etwdetect.sources.etl import buffers, compression, logfile, records
from etwdetect.sources.etl.clock import ClockConversion
from etwdetect.sources.etl.walk import Span, Wanted, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from etwdetect.core.raw import RawEvent
    from etwdetect.sources.etl.buffers import BufferHeader

WINDOW: Final = 24 << 20
"""How many bytes of buffers are walked at a time."""

MOST_DAMAGES_KEPT: Final = 100
"""How many places of damage are described; the rest is only counted."""

_EVTX_MAGIC: Final = b"ElfFile\0"
_LOGFILE_RECORD_HEADER: Final = 32
_COMPRESSED_MODE: Final = 0x0400_0000
_SMALLEST_STRIDE: Final = 1024
_UNUSED: Final = "unused space between buffers"


class Damage(NamedTuple):
    """A place in a file that could not be read: the offset in bytes from its start, and what is wrong."""

    offset: int
    what: str


@dataclass
class Damages:
    """The places of damage in one file: all counted, the first ones described."""

    count: int = 0
    described: list[Damage] = field(default_factory=list)

    def add(self, offset: int, what: str) -> None:
        """Count one more place, at *offset* bytes from the file's start."""
        self.count += 1
        if len(self.described) < MOST_DAMAGES_KEPT:
            self.described.append(Damage(offset, what))


class _Placed(NamedTuple):
    """A buffer's records in the window, and where in the file they come from."""

    span: Span
    offset: int
    compressed: bool

    def file_offset(self, at: int) -> int:
        """Return where in the file the byte at *at* in the window stands, or the compressed buffer around it."""
        if self.compressed:
            return self.offset
        return self.offset + buffers.HEADER_SIZE + at - self.span.start


class Trace:
    """One trace file, open for reading.

    *file* is a seekable binary file, *name* is what messages call it. Raises NotATraceError where it is no
    trace. While `records` is read, *events_read*, *bytes_read* (of the file), *damages* and *loss_marks* (how
    many buffers are flagged as following a loss) grow.
    """

    def __init__(self, file: IO[bytes], name: str) -> None:
        self.name = name
        self.events_read = 0
        self.bytes_read = 0
        self.loss_marks = 0
        self.damages = Damages()
        self.stopped = False
        self._file = file
        self.size = file.seek(0, 2)
        file.seek(0)
        self.header, anchor, self._method = self._read_header()
        try:
            self.clock = ClockConversion(self.header, anchor)
        except ValueError as error:
            raise NotATraceError(name, str(error), buffers.HEADER_SIZE) from error

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
            raise NotATraceError(self.name, f"is not a trace: {fault or 'its first buffer is compressed'}", 0)
        body = self._file.read(min(first.filled, 1 << 16) - buffers.HEADER_SIZE)
        if len(body) < _LOGFILE_RECORD_HEADER:
            raise NotATraceError(self.name, "is cut short inside its first record", self.size)
        kind = records.KINDS[int.from_bytes(body[2:4], "little")]
        size, hook = int.from_bytes(body[4:6], "little"), int.from_bytes(body[6:8], "little")
        if kind != records.Kind.HOOKED or hook != 0:
            raise NotATraceError(
                self.name, "is not a trace: its first record is no logfile header", buffers.HEADER_SIZE
            )
        try:
            header = logfile.parse(body[_LOGFILE_RECORD_HEADER : max(size, _LOGFILE_RECORD_HEADER)])
        except ValueError as error:
            raise NotATraceError(self.name, f"is not a trace: {error}", buffers.HEADER_SIZE) from error
        return header, int.from_bytes(body[16:24], "little", signed=True), first.state & 0xFFFF

    def stop(self) -> None:
        """Have `records` read no further buffer."""
        self.stopped = True

    def records(self, wanted: Wanted, aside: Callable[[bytes], None] | None = None) -> Iterator[RawEvent]:
        """Yield the wanted records in file order; it may be a few more, of providers much like the wanted.

        The bytes of those that are to be put aside are given to *aside*: `etl.records.read` reads them.
        """
        window = _Window()
        for offset, header in self._buffers():
            if not window.has_room(header.filled - buffers.HEADER_SIZE):
                yield from self._records_in(window, wanted, aside)
                window.clear()
            try:
                window.place(offset, self._body(offset, header), compressed=header.compressed)
            except ValueError as error:
                self.damages.add(offset, f"{error}; the buffer is left out")
            if header.flags & (buffers.EVENTS_LOST | buffers.BUFFER_LOST):
                self.loss_marks += 1
        yield from self._records_in(window, wanted, aside)

    def _buffers(self) -> Iterator[tuple[int, BufferHeader]]:
        """Yield each buffer's offset and header; step over what can't be a buffer, where that is possible."""
        offset = 0
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
                yield offset, header
                offset += header.size
            elif self._stride:
                bad = bad or (offset, fault if any(head) else _UNUSED)
                offset += self._stride
            else:
                bad = (offset, f"{fault}; the {self.size - offset} bytes from there on are not read")
                break
            self.bytes_read = min(offset, self.size)
        if bad and bad[1] != _UNUSED:  # an unfinalised log may end in space that was never used
            self.damages.add(*bad)

    @property
    def _stride(self) -> int:
        """How far the next buffer is from one whose header is damaged; 0 where that can't be known."""
        fixed = not self.header.mode & _COMPRESSED_MODE
        return self.header.buffer_size if fixed and self.header.buffer_size >= _SMALLEST_STRIDE else 0

    def _too_large(self, header: BufferHeader) -> str | None:
        if header.compressed and header.filled > max(self.header.buffer_size, _SMALLEST_STRIDE):
            return f"a compressed buffer cannot hold {header.filled} bytes in this trace"
        return None

    def _body(self, offset: int, header: BufferHeader) -> bytes:
        """Return the decoded bytes behind a buffer's header; ValueError where they can't be had."""
        size = (header.size if header.compressed else header.filled) - buffers.HEADER_SIZE
        body = self._read(offset + buffers.HEADER_SIZE, size)
        cut = offset + header.size > self.size
        if not header.compressed:
            if cut:
                self.damages.add(self.size, f"the file ends inside the buffer at offset {offset:#x}")
            return body
        if cut:
            raise ValueError("the file ends inside this compressed buffer")
        return compression.decompress(body, header.filled - buffers.HEADER_SIZE, self._method)

    def _read(self, offset: int, size: int) -> bytes:
        """Return *size* bytes at *offset*, fewer where the file ends or can't be read any further."""
        try:
            self._file.seek(offset)
            return self._file.read(size)
        except OSError as error:
            self.damages.add(offset, f"the file cannot be read: {error.strerror}")
            self.size = offset
            return b""

    def _records_in(
        self, window: _Window, wanted: Wanted, aside: Callable[[bytes], None] | None
    ) -> Iterator[RawEvent]:
        walked = walk(window.data, [buffer.span for buffer in window.placed], wanted)
        self.events_read += walked.records
        reasons = dict(walked.broken)
        for at, buffer in _with_buffers(reasons, window.placed):
            self._damaged(buffer, at, f"{reasons[at]}; the rest of the buffer is left out")
        if aside is not None:
            data = window.data
            for at in walked.aside:
                aside(bytes(data[at : at + (data[at + 4] | data[at + 5] << 8)]))  # where a hooked record's size is
        for at, buffer in _with_buffers(walked.found, window.placed):
            try:
                yield records.read(window.data, at, self.clock, buffer.file_offset(at))
            except ValueError as error:
                self._damaged(buffer, at, f"{error}; the record is left out")

    def _damaged(self, buffer: _Placed, at: int, what: str) -> None:
        where = f", {at - buffer.span.start:#x} bytes into the decompressed buffer" if buffer.compressed else ""
        self.damages.add(buffer.file_offset(at), what + where)


class _Window:
    """The bytes of many buffers' records, one after the other, each beginning on a multiple of 8.

    It grows to what the buffers need, WINDOW bytes or a single larger buffer, and is then used again.
    """

    def __init__(self) -> None:
        self.data = bytearray()
        self.placed: list[_Placed] = []
        self._used = 0

    def has_room(self, size: int) -> bool:
        """Whether *size* bytes more may go in; a window without buffers takes one of any size."""
        return not self.placed or self._used + size <= WINDOW

    def clear(self) -> None:
        """Forget all buffers."""
        self.placed.clear()
        self._used = 0

    def place(self, offset: int, body: bytes, *, compressed: bool) -> None:
        """Put in the records of the buffer at *offset* in the file."""
        start, end = self._used, self._used + len(body)
        self._used = end + -end % records.ALIGNMENT
        self.data[start : self._used] = body + bytes(self._used - end)
        self.placed.append(_Placed(Span(start, end), offset, compressed))


def _with_buffers(positions: Iterable[int], placed: list[_Placed]) -> Iterator[tuple[int, _Placed]]:
    """Yield each of the ascending *positions* with the buffer that it lies in."""
    around = iter(placed)
    buffer = next(around, None)
    for at in positions:
        while buffer is not None and at >= buffer.span.end:
            buffer = next(around, None)
        if buffer is not None:
            yield at, buffer
