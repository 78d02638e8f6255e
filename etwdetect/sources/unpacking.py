"""Unpacks .gz, .xz, .bz2 and .zst, and members of .zip and .tar, up to a limit far above real traces.

Everything here is hostile: memory is bounded by one chunk (and 256 MiB for the dictionary of an .xz), time by the
packed bytes, and what was unpacked before a fault is kept.
"""

from __future__ import annotations

import bz2
import lzma
import os
import sys
import tempfile
import zipfile
import zlib
from contextlib import ExitStack
from itertools import chain
from typing import IO, TYPE_CHECKING, Final, Protocol

from etwdetect.core.budget import current
from etwdetect.core.errors import NotATraceError
from etwdetect.sources.archive import ERRORS, LOCAL_HEADER
from etwdetect.sources.packed import stream_kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from etwdetect.sources.archive import Member

_CHUNK: Final = 1 << 20
_PACKED_CHUNK: Final = 1 << 16
"""Small: what is left of one is copied at the end of each stream in it."""
_MIN_LIMIT: Final = 64 << 20
"""The bytes that anything packed may unpack to."""
_MIN_LIMIT_OF_ALL: Final = 1 << 30
"""The bytes that all members of an archive may unpack to together."""
_MOST_EXPANSION: Final = 250
"""The expansion factor allowed for larger ones; that of real traces is below 60."""
_MOST_DICTIONARY: Final = 256 << 20
"""xz -9 needs 65 MiB."""


class Allowance:
    """How many bytes the members of an archive of *size* bytes may still unpack to, together."""

    def __init__(self, size: int) -> None:
        self.left = max(_MIN_LIMIT_OF_ALL, size * _MOST_EXPANSION)


class _Decompressor(Protocol):
    """What the standard library calls a decompressor of one stream."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, most: int, /) -> bytes: ...


class _Zlib:
    """zlib's decompressor with the interface of the others: it keeps the input that it has not used yet."""

    def __init__(self, window: int) -> None:
        self._stream = zlib.decompressobj(window)

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def unused_data(self) -> bytes:
        return self._stream.unused_data

    def decompress(self, data: bytes, most: int, /) -> bytes:
        return self._stream.decompress(self._stream.unconsumed_tail + data, most)


class _Zstd:
    """Zstandard's decompressor, with ValueError in place of an exception of its own; loaded when it is needed."""

    def __init__(self) -> None:
        if sys.version_info >= (3, 14):
            from compression import zstd  # noqa: PLC0415
        else:
            from backports import zstd  # noqa: PLC0415
        self._stream = zstd.ZstdDecompressor()
        self._error = zstd.ZstdError

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def unused_data(self) -> bytes:
        return self._stream.unused_data

    def decompress(self, data: bytes, most: int, /) -> bytes:
        try:
            return self._stream.decompress(data, most)
        except self._error as error:
            raise ValueError(str(error)) from error


_DECOMPRESSORS: Final[dict[str, Callable[[], _Decompressor]]] = {
    "gz": lambda: _Zlib(31),
    "xz": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, _MOST_DICTIONARY),
    "bz2": bz2.BZ2Decompressor,
    "zst": _Zstd,
}


def unpack(
    packed: IO[bytes], member: Member | None, name: str, allowance: Allowance | None = None
) -> tuple[IO[bytes], str | None]:
    """Return a temporary file with the unpacked bytes, as many as could be read, and the error if there was one.

    *packed* is a packed file, or the archive of *member*. Raises NotATraceError, with *name*, if nothing could be
    unpacked.
    """
    if member is not None and member.fault:
        raise NotATraceError(name, member.fault)
    size = os.fstat(packed.fileno()).st_size if member is None else member.size
    most = max(_MIN_LIMIT, size * _MOST_EXPANSION)
    what = "unpacks"
    if allowance is not None and allowance.left < most:
        most, what = allowance.left, "its archive unpacks"
    budget = current.get()
    with ExitStack() as stack:
        unpacked: IO[bytes] = stack.enter_context(tempfile.TemporaryFile())
        fault = None
        over = False
        try:
            for chunk in _unpacked(packed, member)[1]:
                if not budget.take("unpacked", len(chunk)):
                    fault = budget.sentence("unpacked")
                    break
                if unpacked.tell() + len(chunk) > most:
                    over = True
                    fault = f"{what} to more than {most:,} bytes, which no trace does: the rest is not read"
                    break
                unpacked.write(chunk)
        except ERRORS as error:
            further = " any further" if unpacked.tell() else ""
            fault = f"cannot be unpacked{further}: {error}"
        if fault and unpacked.tell() == 0 and not over:
            raise NotATraceError(name, fault)
        if allowance is not None:
            allowance.left -= unpacked.tell()
        unpacked.seek(0)
        stack.pop_all()
        return unpacked, fault


def first_bytes(packed: IO[bytes], member: Member | None, size: int) -> tuple[bytes, str | None]:
    """Return the first *size* unpacked bytes, or fewer on an error, which `unpack` will report.

    The second value says what they are packed with, such as gz; None for a member that is not packed itself.
    """
    head = b""
    kind = None
    try:
        kind, chunks = _unpacked(packed, member, size)
        for chunk in chunks:
            head += chunk
            if len(head) >= size:
                break
    except ERRORS:
        pass
    return head[:size], kind


def _unpacked(packed: IO[bytes], member: Member | None, most: int = _CHUNK) -> tuple[str | None, Iterator[bytes]]:
    """Return what *packed* or its *member* is packed with, and the unpacked bytes, at most *most* at once."""
    raw = _read(packed, None) if member is None else _stored_in(packed, member, most)
    first = next(raw, b"")
    kind = stream_kind(first)
    return kind, chain((first,), raw) if kind is None else _streams(_DECOMPRESSORS[kind], first, raw, most)


def _read(file: IO[bytes], size: int | None) -> Iterator[bytes]:
    """Yield the next *size* bytes of *file*, all if it is None; EOFError if there are fewer."""
    while size is None or size:
        chunk = file.read(_PACKED_CHUNK if size is None else min(size, _PACKED_CHUNK))
        if not chunk:
            if size is None:
                return
            raise EOFError("the archive ends inside it")
        if size is not None:
            size -= len(chunk)
        yield chunk


def _streams(
    decompressor: Callable[[], _Decompressor], first: bytes, following: Iterator[bytes], most: int
) -> Iterator[bytes]:
    """Yield what one or more streams unpack to, one behind the other; zeros after the last one are padding."""
    data = first
    while data:
        stream = decompressor()
        while not stream.eof:
            chunk = stream.decompress(data, most)
            data = b""
            if chunk:
                yield chunk
            elif not stream.eof:
                data = next(following, b"")
                if not data:
                    raise EOFError("it is cut short")
        data = stream.unused_data.lstrip(b"\0")
        while not data and (more := next(following, b"")):
            data = more.lstrip(b"\0")


def _stored_in(file: IO[bytes], member: Member, most: int) -> Iterator[bytes]:
    """Yield the bytes of a member; zipfile.BadZipFile where they do not have its checksum."""
    file.seek(member.offset)
    if member.in_zip:
        header = file.read(LOCAL_HEADER)
        if len(header) < LOCAL_HEADER or not header.startswith(b"PK\x03\x04"):
            raise zipfile.BadZipFile("its local header is damaged")
        file.seek(int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little"), os.SEEK_CUR)
    chunks = _read(file, member.size)
    if member.deflated:
        chunks = _streams(lambda: _Zlib(-15), next(chunks, b""), chunks, most)
    checksum = 0
    for chunk in chunks:
        checksum = zlib.crc32(chunk, checksum)
        yield chunk
    if member.checksum is not None and checksum != member.checksum:
        raise zipfile.BadZipFile("its checksum is wrong")
