"""The window that the buffers of a trace are loaded into, and where each of them is in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from etwdetect.sources.etl import buffers, records
from etwdetect.sources.etl.walk import Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from etwdetect.sources.etl.buffers import BufferHeader

WINDOW: Final = 24 << 20
"""The number of bytes of buffers that are walked at a time."""

_OVERHEAD: Final = 256
"""The bytes of memory that each buffer in the window takes besides its records, at most."""


class Placed(NamedTuple):
    """A buffer's records in the window, and their offset in the file."""

    span: Span
    offset: int
    compressed: bool
    cpu: int

    def file_offset(self, at: int) -> int:
        """Return the offset in the file of the byte at *at* in the window, or of its compressed buffer."""
        if self.compressed:
            return self.offset
        return self.offset + buffers.HEADER_SIZE + at - self.span.start


class Window:
    """The records of many buffers, one after the other, each buffer aligned to 8 bytes.

    It grows to the size needed, at most WINDOW bytes or a single larger buffer, and is reused.
    """

    def __init__(self) -> None:
        self.data = bytearray()
        self.placed: list[Placed] = []
        self._used = 0

    def has_room(self, size: int) -> bool:
        """Whether *size* more bytes fit; an empty window takes a buffer of any size."""
        return not self.placed or self._used + size + len(self.placed) * _OVERHEAD <= WINDOW

    def clear(self) -> None:
        """Remove all buffers."""
        self.placed.clear()
        self._used = 0

    def room(self, size: int) -> memoryview:
        """Return where *size* bytes of records are to be written before `place`."""
        missing = self._used + size + -size % records.ALIGNMENT + records.ALIGNMENT - len(self.data)
        if missing > 0:
            self.data += bytes(missing)
        return memoryview(self.data)[self._used : self._used + size]

    def write(self, body: bytes) -> int:
        """Write records before `place`; return their size in bytes."""
        if self._used == len(self.data):
            self.data += body
        else:
            self.room(len(body))[:] = body
        return len(body)

    def place(self, offset: int, size: int, header: BufferHeader) -> None:
        """Add the *size* bytes of records of the buffer at *offset* in the file; a word of 0 goes behind them."""
        start, end = self._used, self._used + size
        self._used = end + -end % records.ALIGNMENT + records.ALIGNMENT
        self.data[end : self._used] = bytes(self._used - end)
        self.placed.append(Placed(Span(start, end), offset, header.compressed, header.cpu))


def with_buffers(positions: Iterable[int], placed: list[Placed]) -> Iterator[tuple[int, Placed]]:
    """Yield each of the ascending *positions* with the buffer that contains it."""
    around = iter(placed)
    buffer = next(around, None)
    for at in positions:
        while buffer is not None and at >= buffer.span.end:
            buffer = next(around, None)
        if buffer is not None:
            yield at, buffer
