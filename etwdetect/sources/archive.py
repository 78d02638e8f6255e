"""Lists the members of .zip and .tar archives, and says why one is not read."""

from __future__ import annotations

import lzma
import zipfile
import zlib
from typing import IO, TYPE_CHECKING, Final, NamedTuple

from etwdetect.core.budget import current
from etwdetect.sources.packed import is_tar_header

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LOCAL_HEADER: Final = 30
"""The bytes of a member's local header in a .zip, before its name."""
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

ERRORS: Final = (
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
    except ERRORS as error:
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
        end = max(end, info.header_offset + LOCAL_HEADER + info.compress_size)
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
