"""Unpacks .gz files and members of .zip files into temporary files, up to a limit far above real traces."""

from __future__ import annotations

import gzip
import os
import tempfile
import zipfile
import zlib
from typing import IO, TYPE_CHECKING, Final, Protocol, cast

from etwdetect.core.errors import NotATraceError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import ExitStack
    from pathlib import Path

_CHUNK: Final = 1 << 20
_MIN_LIMIT: Final = 64 << 20
"""The bytes that any archive may unpack to."""
_MOST_EXPANSION: Final = 250
"""The expansion factor allowed for larger archives; that of real traces is below 60."""

_COMPRESSIONS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ERRORS: Final = (OSError, EOFError, zlib.error, zipfile.BadZipFile, RuntimeError, NotImplementedError)


class _Readable(Protocol):
    def read1(self, size: int, /) -> bytes: ...


def unpack(stack: ExitStack, packed: IO[bytes], member: str | None, name: str) -> tuple[IO[bytes], str | None]:
    """Return a temporary file with the unpacked bytes, as many as could be read, and the error if there was one.

    *member* is the name in a .zip, None for a .gz. Raises NotATraceError, with *name*, if nothing could be
    unpacked.
    """
    unpacked: IO[bytes] = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
    try:
        source, packed_size = _source(stack, packed, member)
        most = max(_MIN_LIMIT, packed_size * _MOST_EXPANSION)
        while chunk := source.read1(_CHUNK):  # in chunks, so that the bytes before a damaged place are kept
            if unpacked.tell() + len(chunk) > most:
                fault = f"unpacks to more than {most:,} bytes, which no trace does: the rest is not read"
                return unpacked, fault
            unpacked.write(chunk)
    except _ERRORS as error:
        if unpacked.tell() == 0:
            raise NotATraceError(name, f"cannot be unpacked: {error}") from error
        return unpacked, f"cannot be unpacked any further: {error}"
    return unpacked, None


def _source(stack: ExitStack, packed: IO[bytes], member: str | None) -> tuple[_Readable, int]:
    """Return a reader of the unpacked bytes, and the number of packed bytes."""
    if member is None:
        unpacking = gzip.GzipFile(fileobj=packed)
        stack.callback(unpacking.close)
        return unpacking, os.fstat(packed.fileno()).st_size
    archive = stack.enter_context(zipfile.ZipFile(packed))
    info = archive.getinfo(member)
    if info.compress_type not in _COMPRESSIONS:
        # With the others zipfile unpacks everything at once, however little is requested.
        raise NotImplementedError("only deflated members are unpacked")
    opened = cast("zipfile.ZipExtFile", stack.enter_context(archive.open(info)))
    return opened, info.compress_size


def head_of_gz(path: Path, size: int) -> bytes:
    """Return the first *size* unpacked bytes, or fewer on an error, which opening the file will report."""
    head = b""
    try:
        with gzip.open(path) as file:
            while len(head) < size and (chunk := file.read1(size)):
                head += chunk
    except _ERRORS:
        pass
    return head


def heads_in_zip(path: Path, suffixes: tuple[str, ...], size: int) -> Iterator[tuple[str, bytes | None]]:
    """Yield the name of each member, sorted, and the first *size* bytes of those with one of *suffixes*.

    For a member that `unpack` refuses, the bytes are None. Raises NotATraceError if the archive cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for name in sorted(archive.namelist()):
                yield name, _head(archive, name, size) if name.lower().endswith(suffixes) else None
    except _ERRORS as error:
        raise NotATraceError(str(path), f"is a .zip that cannot be read: {error}") from error


def _head(archive: zipfile.ZipFile, name: str, size: int) -> bytes | None:
    if archive.getinfo(name).compress_type not in _COMPRESSIONS:
        return None
    with archive.open(name) as member:
        return member.read(size)
