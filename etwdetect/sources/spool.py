"""Keeps in a temporary file what is read only once: standard input, and an archive that is packed itself."""

from __future__ import annotations

import sys
import weakref
from typing import IO, TYPE_CHECKING, ClassVar, Final

from etwdetect.core.budget import current
from etwdetect.core.errors import NotATraceError
from etwdetect.core.files import temporary_file
from etwdetect.sources.packed import Place

if TYPE_CHECKING:
    from pathlib import Path

_CHUNK: Final = 1 << 20


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
            self._file = temporary_file(self)
            self._take_standard_input(self._file)

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
            self._file, self.fault = self._packed.unpack()
            weakref.finalize(self, self._file.close)
            Spool._latest = weakref.ref(self)
        assert self._file is not None
        self._file.seek(0)
        return self._file

    def forget(self) -> None:
        """Close the file; `file` will unpack it again."""
        if self._file is not None:
            self._file.close()
            self._file = None


def standard_input(path: Path) -> Place:
    """Return the place of what can be read from standard input, until its end; *path* is what stands for it."""
    name = "standard input"
    try:
        return Place(path, name, Spool())
    except OSError as error:
        raise NotATraceError(name, f"cannot be read into a temporary file: {error.strerror}") from error
