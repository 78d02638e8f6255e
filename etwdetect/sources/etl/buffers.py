"""The buffers that a trace file is a row of: their 0x48-byte headers, and where the next one begins.

Layout: WMI_BUFFER_HEADER in the public symbols of ntoskrnl, checked on traces of builds 6001 to 22621.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

HEADER_SIZE: Final = 0x48
"""Bytes of a buffer's header."""

LARGEST: Final = 16 << 20
"""The most bytes that Windows allows a buffer."""

FLUSH_MARKER: Final = 0x01
EVENTS_LOST: Final = 0x02
BUFFER_LOST: Final = 0x04
COMPRESSED: Final = 0x40

_FIELDS: Final = Struct("<II8xqq8xHHIIHH16x")


class BufferHeader(NamedTuple):
    """One buffer's header. *size* is in bytes on disk, *filled* the bytes used, header included.

    *saved* is *filled* too in files that Windows wrote live, but not in relogged ones; *time* is raw or a
    FILETIME: neither is to be relied on. Of a compressed buffer *size* is that of the compressed form and
    *filled* that of the decoded one.
    """

    size: int
    saved: int
    time: int
    sequence: int
    cpu: int
    logger_id: int
    state: int
    filled: int
    flags: int
    kind: int

    @property
    def compressed(self) -> bool:
        """Whether the bytes behind the header have to be decompressed."""
        return bool(self.flags & COMPRESSED)

    def fault(self) -> str | None:
        """Say why this can't be a buffer's header; None if it can."""
        if not HEADER_SIZE <= self.size <= LARGEST:
            return f"a buffer of {self.size} bytes cannot be"
        if not HEADER_SIZE <= self.filled <= LARGEST:
            return f"a buffer filled with {self.filled} bytes cannot be"
        if not self.compressed and self.filled > self.size:
            return f"a buffer of {self.size} bytes cannot be filled with {self.filled}"
        return None

    def pack(self) -> bytes:
        """Return the header as 0x48 bytes; what this project does not read is zero."""
        return _FIELDS.pack(*self)


def parse(data: bytes | bytearray | memoryview, at: int = 0) -> BufferHeader:
    """Read the header at offset *at*, where 0x48 bytes must be."""
    return BufferHeader(*_FIELDS.unpack_from(data, at))
