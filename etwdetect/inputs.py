"""Finds the traces that a path names: files, those inside .zip and .gz, files of events, all of a directory."""

from __future__ import annotations

import gzip
import os
import tempfile
import zipfile
import zlib
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Protocol

from etwdetect.errors import NotATraceError
from etwdetect.etl.reader import Trace
from etwdetect.recorded.trace import SUFFIXES, RecordedInput, find_recordings, is_recorded

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHUNK: Final = 1 << 20
_FLOOR: Final = 64 << 20
"""What any archive may unpack to, in bytes."""
_MOST_EXPANSION: Final = 250
"""How many times its packed size a larger archive may unpack to; real traces stay below 60."""

_GZIP_MAGIC: Final = b"\x1f\x8b"
_ZIP_MAGIC: Final = b"PK\x03\x04"
_UNPACK_ERRORS: Final = (OSError, EOFError, zlib.error, zipfile.BadZipFile, RuntimeError, NotImplementedError)


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True)
class Input:
    """One trace that was found: the file it is in, and its name there if that is a .zip."""

    path: Path
    member: str | None = None

    @property
    def name(self) -> str:
        """What messages call it."""
        return str(self.path) if self.member is None else f"{self.path}!{self.member}"

    @contextmanager
    def open(self) -> Iterator[Trace]:
        """Open the trace; NotATraceError where it can't be read at all."""
        with ExitStack() as stack:
            try:
                file: IO[bytes] = stack.enter_context(self.path.open("rb", buffering=0))
                magic = file.read(len(_ZIP_MAGIC))
                file.seek(0)
            except OSError as error:
                raise NotATraceError(self.name, f"cannot be opened: {error.strerror}") from error
            fault = None
            if self.member is not None or magic.startswith(_GZIP_MAGIC):
                file, fault = self._unpack(stack, file)
            try:
                trace = Trace(file, self.name)
            except OSError as error:
                raise NotATraceError(self.name, f"cannot be read: {error.strerror}") from error
            if fault:
                trace.damages.add(trace.size, fault)
            yield trace

    def _unpack(self, stack: ExitStack, packed: IO[bytes]) -> tuple[IO[bytes], str | None]:
        """Return a temporary file with what is packed, as far as it could be had, and what went wrong."""
        unpacked: IO[bytes] = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        try:
            source, packed_size = self._source(stack, packed)
            most = max(_FLOOR, packed_size * _MOST_EXPANSION)
            while chunk := source.read(_CHUNK):
                if unpacked.tell() + len(chunk) > most:
                    fault = f"unpacks to more than {most:,} bytes, which no trace does: the rest is not read"
                    return unpacked, fault
                unpacked.write(chunk)
        except _UNPACK_ERRORS as error:
            if unpacked.tell() == 0:
                raise NotATraceError(self.name, f"cannot be unpacked: {error}") from error
            return unpacked, f"cannot be unpacked any further: {error}"
        return unpacked, None

    def _source(self, stack: ExitStack, packed: IO[bytes]) -> tuple[_Readable, int]:
        """Return what reads the unpacked bytes, and how many bytes the packed ones are."""
        if self.member is None:
            unpacking = gzip.GzipFile(fileobj=packed)
            stack.callback(unpacking.close)
            return unpacking, os.fstat(packed.fileno()).st_size
        archive = stack.enter_context(zipfile.ZipFile(packed))
        member = archive.getinfo(self.member)
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            # Of the others zipfile unpacks as much at once as there is, however little is asked for.
            raise NotImplementedError("only deflated members are unpacked")
        return stack.enter_context(archive.open(member)), member.compress_size


def find_inputs(path: str | os.PathLike[str]) -> Iterator[Input | RecordedInput]:
    """Yield the traces at *path*, in the order of their names.

    Raises NotATraceError where there is nothing, a directory or an archive without a trace.
    """
    path = Path(path)
    if not path.is_dir():
        yield from _in_file(path)
        return
    found = False
    for each in sorted(file for file in path.rglob("*") if _is_candidate(file)):
        try:
            for each_input in _in_file(each):
                found = True
                yield each_input
        except NotATraceError:
            continue  # an archive or a file of other things, which nobody named
    if not found:
        raise NotATraceError(str(path), "is a directory with no trace (.etl, .gz, .zip, .jsonl, .parquet) in it")


def _is_candidate(file: Path) -> bool:
    name = file.name.lower()
    return name.endswith((".etl", ".etl.gz", ".zip", *SUFFIXES)) and file.is_file()


def _in_file(path: Path) -> Iterator[Input | RecordedInput]:
    if path.exists() and not path.is_file():
        raise NotATraceError(str(path), "is neither a file nor a directory")  # a pipe would be waited for
    try:
        with path.open("rb") as file:
            magic = file.read(len(_ZIP_MAGIC))
    except OSError as error:
        raise NotATraceError(str(path), f"cannot be opened: {error.strerror}") from error
    if is_recorded(magic):
        yield from find_recordings(path)
        return
    if magic != _ZIP_MAGIC:
        yield Input(path)
        return
    try:
        with zipfile.ZipFile(path) as archive:
            members = sorted(name for name in archive.namelist() if name.lower().endswith(".etl"))
    except _UNPACK_ERRORS as error:
        raise NotATraceError(str(path), f"is a .zip that cannot be read: {error}") from error
    if not members:
        raise NotATraceError(str(path), "is a .zip with no .etl file in it")
    for member in members:
        yield Input(path, member)
