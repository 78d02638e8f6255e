"""The buffers of a trace file, which follow each other: their 0x48-byte headers.

Layout: WMI_BUFFER_HEADER in the public symbols of ntoskrnl, checked on traces of builds 6001 to 22621.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

HEADER_SIZE: Final = 0x48
"""The size of a buffer's header, in bytes."""

LARGEST: Final = 16 << 20
"""The largest buffer that Windows allows, in bytes."""

FLUSH_MARKER: Final = 0x01
EVENTS_LOST: Final = 0x02
BUFFER_LOST: Final = 0x04
COMPRESSED: Final = 0x40

_FIELDS: Final = Struct("<II8xqq8xHHIIHH16x")


class BufferHeader(NamedTuple):
    """One buffer's header. *size* is in bytes on disk, *filled* is the bytes in use, both including the header.

    *saved* equals *filled* in files that Windows wrote live, but not in relogged ones; *time* is raw or a
    FILETIME: neither is reliable. For a compressed buffer *size* is that of the compressed form and *filled* that
    of the decoded one.
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
        """Whether the bytes after the header are compressed."""
        return bool(self.flags & COMPRESSED)

    def fault(self) -> str | None:
        """Return why this is not a valid buffer header, or None if it is."""
        if not HEADER_SIZE <= self.size <= LARGEST:
            return f"invalid buffer size of {self.size} bytes"
        if not HEADER_SIZE <= self.filled <= LARGEST:
            return f"invalid buffer fill of {self.filled} bytes"
        if not self.compressed and self.filled > self.size:
            return f"a buffer of {self.size} bytes cannot hold {self.filled}"
        return None

    def pack(self) -> bytes:
        """Return the header as 0x48 bytes; fields that this project does not read are zero."""
        return _FIELDS.pack(*self)


def parse(data: bytes | bytearray | memoryview, at: int = 0) -> BufferHeader:
    """Parse the header at offset *at* of *data*, which must have 0x48 bytes there."""
    return BufferHeader(*_FIELDS.unpack_from(data, at))
