"""What is packed in a .gz or a .zip: unpacked into a temporary file, and never more than a real trace has."""

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
_FLOOR: Final = 64 << 20
"""What any archive may unpack to, in bytes."""
_MOST_EXPANSION: Final = 250
"""How many times its packed size a larger archive may unpack to; real traces stay below 60."""

_COMPRESSIONS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ERRORS: Final = (OSError, EOFError, zlib.error, zipfile.BadZipFile, RuntimeError, NotImplementedError)


class _Readable(Protocol):
    def read1(self, size: int, /) -> bytes: ...


def unpack(stack: ExitStack, packed: IO[bytes], member: str | None, name: str) -> tuple[IO[bytes], str | None]:
    """Return a temporary file with what is packed, as far as it could be had, and what went wrong.

    *member* is its name in a .zip, None for a .gz. NotATraceError, with *name*, where nothing could be had.
    """
    unpacked: IO[bytes] = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
    try:
        source, packed_size = _source(stack, packed, member)
        most = max(_FLOOR, packed_size * _MOST_EXPANSION)
        while chunk := source.read1(_CHUNK):  # what comes before a fault is never kept back
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
    """Return what reads the unpacked bytes, and how many bytes the packed ones are."""
    if member is None:
        unpacking = gzip.GzipFile(fileobj=packed)
        stack.callback(unpacking.close)
        return unpacking, os.fstat(packed.fileno()).st_size
    archive = stack.enter_context(zipfile.ZipFile(packed))
    info = archive.getinfo(member)
    if info.compress_type not in _COMPRESSIONS:
        # Of the others zipfile unpacks as much at once as there is, however little is asked for.
        raise NotImplementedError("only deflated members are unpacked")
    opened = cast("zipfile.ZipExtFile", stack.enter_context(archive.open(info)))
    return opened, info.compress_size


def head_of_gz(path: Path, size: int) -> bytes:
    """Return the first *size* unpacked bytes, or as many as can be had: opening it will say why."""
    head = b""
    try:
        with gzip.open(path) as file:
            while len(head) < size and (chunk := file.read1(size)):
                head += chunk
    except _ERRORS:
        pass
    return head


def heads_in_zip(path: Path, suffixes: tuple[str, ...], size: int) -> Iterator[tuple[str, bytes | None]]:
    """Yield the name of each member, in their order, and the first *size* bytes of those with one of *suffixes*.

    Of a member that `unpack` refuses there are none. NotATraceError where the archive can't be read.
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
