"""Opens files, standard input and members of archives alike, whatever they are packed with.

The content says how something is packed, never its name. What unpacks is imported only for what is packed: fast
start-up.
"""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Final, NamedTuple

from etwdetect.core.errors import NotATraceError
from etwdetect.core.files import open_file

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from etwdetect.sources.archive import Member
    from etwdetect.sources.spool import Spool
    from etwdetect.sources.unpacking import Allowance

STREAMS: Final = {
    b"\x1f\x8b": "gz",
    b"\xfd7zXZ\0": "xz",
    b"BZh": "bz2",
    b"\x28\xb5\x2f\xfd": "zst",
}
"""What packs one file, by the first bytes."""

_LONGEST_MAGIC: Final = max(map(len, STREAMS))
_ZIPS: Final = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_TAR_HEADER: Final = 512
_CHECKSUM: Final = slice(148, 156)


class Kind(NamedTuple):
    """What a file is that is not read: its name in a sentence, and what to do about it."""

    what: str
    remedy: str = "unpack it first"


_REFUSED: Final = {
    b"7z\xbc\xaf\x27\x1c": Kind("a 7-Zip archive"),
    b"Rar!\x1a\x07": Kind("a RAR archive"),
    b"MSCF": Kind("a cabinet (.cab)"),
    b"\x04\x22\x4d\x18": Kind("packed with LZ4"),
    b"\x1f\x9d": Kind("packed with compress (.Z)"),
    b"MSWIM\0\0\0": Kind("a disk image (.wim)"),
    b"PML_": Kind("a log of Process Monitor (.pml), not a trace (.etl)", "record a trace with `etwdetect record`"),
}


def stream_kind(head: bytes) -> str | None:
    """Return what a file that begins with *head* is packed with, such as gz; None for anything else."""
    return next((kind for magic, kind in STREAMS.items() if head.startswith(magic)), None)


def archive_kind(head: bytes) -> str | None:
    """Return ``zip`` or ``tar`` where a file that begins with *head* (512 bytes) is such an archive."""
    if head.startswith(_ZIPS):
        return "zip"
    return "tar" if is_tar_header(head[:_TAR_HEADER]) else None


def refusal(head: bytes) -> str | None:
    """Return the sentence about a file that begins with *head* and is of a known kind that is not read."""
    for magic, kind in _REFUSED.items():
        if head.startswith(magic):
            return f"is {kind.what}, which is not read: {kind.remedy}"
    return None


def is_tar_header(block: bytes) -> bool:
    """Whether *block* is the header of a member of a .tar: it has its own checksum in octal digits."""
    digits = block[_CHECKSUM].strip(b" \0")
    if len(block) < _TAR_HEADER or not digits.isdigit() or b"8" in digits or b"9" in digits:
        return False
    blanks = 8 * ord(" ")
    return int(digits, 8) == sum(block) - sum(block[_CHECKSUM]) + blanks


@dataclass(frozen=True, slots=True)
class Place:
    """Where the bytes of an input are: the file at *path*, or *spool* instead, or *member* of that archive.

    *name* is for messages. *allowance* is what the members of the archive may unpack to in all.
    """

    path: Path
    name: str
    spool: Spool | None = None
    member: Member | None = None
    allowance: Allowance | None = None

    def open(self, stack: ExitStack) -> tuple[IO[bytes], str | None]:
        """Return the unpacked file, and why it is incomplete if it is; *stack* closes it.

        Raises NotATraceError if nothing could be read.
        """
        with ExitStack() as opening:
            file = self.open_archive(opening)
            if self.member is None and stream_kind(self._begin(file, _LONGEST_MAGIC)) is None:
                stack.push(opening.pop_all())
                return file, None if self.spool is None else self.spool.fault
        file, fault = self.unpack()
        return stack.enter_context(file), fault

    def unpack(self) -> tuple[IO[bytes], str | None]:
        """Return a temporary file with the unpacked bytes, which the caller closes; as `open`."""
        from etwdetect.sources.unpacking import unpack  # noqa: PLC0415 (lazy import: fast start-up)

        with ExitStack() as stack:
            return unpack(self.open_archive(stack), self.member, self.name, self.allowance)

    def head(self, size: int) -> tuple[bytes, str | None]:
        """Return the first *size* unpacked bytes, fewer if they can't be unpacked, and what they are packed with.

        Raises NotATraceError where the file can't be read.
        """
        with ExitStack() as stack:
            file = self.open_archive(stack)
            head = self._begin(file, size)
            if self.member is None and stream_kind(head) is None:
                return head, None
            from etwdetect.sources.unpacking import first_bytes  # noqa: PLC0415 (lazy import: fast start-up)

            return first_bytes(file, self.member, size)

    def _begin(self, file: IO[bytes], size: int) -> bytes:
        """Return the first *size* bytes of *file* as they are; it stays at its beginning."""
        try:
            head = file.read(size)
            file.seek(0)
        except OSError as error:
            raise NotATraceError(self.name, f"cannot be read: {error.strerror}") from error
        return head

    def open_archive(self, stack: ExitStack) -> IO[bytes]:
        """Return the file as it is, or the archive that the member is in, at its beginning; *stack* closes it."""
        try:
            if self.spool is not None:
                return self.spool.file()
            return stack.enter_context(open_file(self.path))
        except OSError as error:
            raise NotATraceError(self.name, f"cannot be opened: {error.strerror}") from error


def sha256(places: Iterable[Place]) -> str:
    """Return the SHA-256, in hex digits, of the unpacked bytes at *places*, one behind the other."""
    digest = hashlib.sha256()
    for place in places:
        with ExitStack() as stack:
            file, _ = place.open(stack)
            try:
                while chunk := file.read(1 << 20):
                    digest.update(chunk)
            except OSError as error:
                raise NotATraceError(place.name, f"cannot be read: {error.strerror}") from error
    return digest.hexdigest()
