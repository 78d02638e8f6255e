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
import weakref
import zipfile
import zlib
from contextlib import ExitStack
from itertools import chain
from typing import IO, TYPE_CHECKING, ClassVar, Final, NamedTuple, Protocol

from etwdetect.core.budget import current
from etwdetect.core.errors import NotATraceError
from etwdetect.sources.packed import Place, is_tar_header, stream_kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

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

_LOCAL_HEADER: Final = 30
_ENCRYPTED: Final = 0x1
_METHODS: Final = {6: "Implode", 9: "Deflate64", 12: "bzip2", 14: "LZMA", 93: "Zstandard", 95: "xz", 98: "PPMd"}

_BLOCK: Final = 512
_MOST_TAR_NAME: Final = 1 << 20
_REGULAR: Final = (b"0", b"\0", b"7")
_LINKS: Final = (b"1", b"2")
_SPARSE: Final = b"S"
_LONG_NAME: Final = b"L"
_EXTENDED: Final = b"x"
_OF_OTHERS: Final = (b"K", b"g", b"X")
"""Headers that say nothing needed here: the long target of a link, what holds for all members, Solaris' own."""

_ERRORS: Final = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    OverflowError,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
)
"""What a damaged file can raise in the libraries that unpack."""


class Member(NamedTuple):
    """A member of an archive: where it begins in it, in bytes, and how many it has there.

    In a .zip it begins with its local header, and is *deflated* or stored; *checksum* is the CRC-32 of the
    unpacked bytes. *fault* is the sentence about one that is not read.
    """

    name: str
    offset: int
    size: int
    in_zip: bool = False
    deflated: bool = False
    checksum: int | None = None
    fault: str = ""


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
        except _ERRORS as error:
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
    except _ERRORS:
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
        header = file.read(_LOCAL_HEADER)
        if len(header) < _LOCAL_HEADER or not header.startswith(b"PK\x03\x04"):
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


def members(archive: IO[bytes], kind: str) -> tuple[list[Member], str | None]:
    """Return the members of *archive* that are no directories, and why there may be more if that is so.

    *kind* is ``zip`` or ``tar``.
    """
    found: list[Member] = []
    budget = current.get()
    try:
        for member in _in_zip(archive) if kind == "zip" else _in_tar(archive):
            if not budget.take("members"):
                return found, budget.sentence("members")
            found.append(member)
    except UnicodeDecodeError:
        return found, "has a member whose name is not valid UTF-8: unpack it first"
    except _ERRORS as error:
        return found, f"is a .{kind} that cannot be read: {error}"
    return found, None


def _in_zip(archive: IO[bytes]) -> Iterator[Member]:
    with zipfile.ZipFile(archive) as directory:
        infos = directory.infolist()
    end = 0
    overlapping = set()
    for info in sorted(infos, key=lambda info: info.header_offset):
        if info.header_offset < end:
            overlapping.add(id(info))
        end = max(end, info.header_offset + _LOCAL_HEADER + info.compress_size)
    for info in infos:
        if not info.filename.endswith("/"):  # is_dir fails for a name without a character
            yield Member(
                info.filename,
                info.header_offset,
                info.compress_size,
                in_zip=True,
                deflated=info.compress_type == zipfile.ZIP_DEFLATED,
                checksum=info.CRC,
                fault="shares bytes with another member" if id(info) in overlapping else _zip_fault(info),
            )


def _zip_fault(info: zipfile.ZipInfo) -> str:
    if info.flag_bits & _ENCRYPTED:
        return "is encrypted: unpack it first"
    if info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return ""
    method = _METHODS.get(info.compress_type, f"method {info.compress_type}")
    return f"is packed with {method}, and only stored and deflated members are read: unpack it first"


def _in_tar(archive: IO[bytes]) -> Iterator[Member]:
    """Yield the members; ValueError at a damaged header, EOFError where the end is missing."""
    at = 0
    extended: dict[str, str] = {}
    while any(block := _tar_block(archive, at)):
        kind, size = block[156:157], _tar_number(block[124:136])
        if kind in (_LONG_NAME, _EXTENDED):
            if size > _MOST_TAR_NAME:
                raise ValueError(f"the header at offset {at:#x} is longer than {_MOST_TAR_NAME:,} bytes")
            data = archive.read(size)
            extended |= {"path": _text(data)} if kind == _LONG_NAME else _records(data)
        elif kind not in _OF_OTHERS:
            size = int(extended.get("size", size))
            if size < 0:
                raise ValueError(f"the header at offset {at:#x} has a negative size")
            name = extended.get("path") or _tar_name(block)
            if kind in (*_REGULAR, *_LINKS, _SPARSE) and not name.endswith("/"):
                yield Member(name, at + _BLOCK, size, fault=_tar_fault(kind, extended))
            extended = {}
        at += _BLOCK + size + -size % _BLOCK


def _tar_block(archive: IO[bytes], at: int) -> bytes:
    archive.seek(at)
    block = archive.read(_BLOCK)
    if len(block) < _BLOCK:
        raise EOFError("it is cut short")
    if any(block) and not is_tar_header(block):
        raise ValueError(f"the header at offset {at:#x} is damaged")
    return block


def _tar_fault(kind: bytes, extended: Iterable[str]) -> str:
    if kind in _LINKS:
        return "is a link in the archive, which is not followed"
    if kind == _SPARSE or any(key.startswith("GNU.sparse") for key in extended):
        return "is stored with its holes left out (sparse): unpack it first"
    return ""


def _tar_number(field: bytes) -> int:
    """Return the number in a header: octal digits or, after 0x80, in base 256. ValueError for anything else."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    return int(field.strip(b" \0") or b"0", 8)


def _tar_name(block: bytes) -> str:
    name, prefix = _text(block[:100]), _text(block[345:500]) if block[257:263] == b"ustar\0" else ""
    return f"{prefix}/{name}" if prefix else name


def _records(data: bytes) -> dict[str, str]:
    """Return the records of an extended header, ``LENGTH KEY=VALUE`` and a line end each."""
    records = {}
    at = 0
    while at < len(data) and data[at]:
        length = int(data[at : data.index(b" ", at, at + 10)])
        key, _, value = data[at : at + length].partition(b" ")[2].partition(b"=")
        if length <= 0 or not value.endswith(b"\n"):
            raise ValueError("an extended header is damaged")
        records[_text(key)] = _text(value[:-1])
        at += length
    return records


def _text(name: bytes) -> str:
    return name.partition(b"\0")[0].decode("utf-8", "surrogateescape")


class Spool:
    """The unpacked bytes of *packed*, in a temporary file: an archive that is packed itself; or of standard input.

    Only one archive is kept unpacked; another one is unpacked again when it is needed again. The file goes with
    the last reference to this object.
    """

    _latest: ClassVar[weakref.ref[Spool] | None] = None

    def __init__(self, packed: Place | None = None) -> None:
        self._packed = packed
        self._file: IO[bytes] | None = None
        self.fault: str | None = None
        """Why it ends early."""
        if packed is None:
            self._keep(tempfile.TemporaryFile())  # noqa: SIM115 (closed with this object)
            self._take_standard_input(self.file())

    def _take_standard_input(self, file: IO[bytes]) -> None:
        budget = current.get()
        while chunk := sys.stdin.buffer.read(_CHUNK):
            if not budget.take("unpacked", len(chunk)):
                self.fault = budget.sentence("unpacked")
                return
            file.write(chunk)

    def file(self) -> IO[bytes]:
        """Return the file, at its beginning. Raises NotATraceError and OSError as unpacking does."""
        if self._file is None:
            assert self._packed is not None  # standard input is kept
            if Spool._latest and (latest := Spool._latest()):
                latest.forget()
            unpacked, self.fault = self._packed.unpack()
            self._keep(unpacked)
            Spool._latest = weakref.ref(self)
        assert self._file is not None
        self._file.seek(0)
        return self._file

    def forget(self) -> None:
        """Close the file; `file` will unpack it again."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _keep(self, file: IO[bytes]) -> None:
        self._file = file
        weakref.finalize(self, file.close)


def standard_input(path: Path) -> Place:
    """Return the place of what can be read from standard input, until its end; *path* is what stands for it."""
    name = "standard input"
    try:
        return Place(path, name, Spool())
    except OSError as error:
        raise NotATraceError(name, f"cannot be read into a temporary file: {error.strerror}") from error
