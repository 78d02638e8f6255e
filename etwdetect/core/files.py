"""Opens what must be a file: a pipe that nobody writes to would be waited for, and a device may never end.

Opens temporary files, too, and tells how a text is encoded.
"""

from __future__ import annotations

import codecs
import errno
import os
import stat
import weakref
from typing import IO, TYPE_CHECKING, Final

if TYPE_CHECKING:
    from io import FileIO
    from pathlib import Path

_FLAGS: Final = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)


def open_file(path: Path) -> FileIO:
    """Open the file at *path* to read it, unbuffered. Raises OSError, also where it is not a file."""
    descriptor = os.open(path, _FLAGS)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a file", str(path))
    return os.fdopen(descriptor, "rb", buffering=0)


def read_file(path: Path, most: int) -> bytes:
    """Return the bytes of the file at *path*, *most* at the most. Raises OSError as `open_file`."""
    with open_file(path) as file:
        parts = []
        while most > 0 and (part := file.read(most)):
            parts.append(part)
            most -= len(part)
    return b"".join(parts)


def encoding_of(head: bytes) -> str:
    """Return the encoding by the byte-order mark: PowerShell redirects in UTF-16."""
    return "utf-16" if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"


def temporary_file(owner: object) -> IO[bytes]:
    """Return an empty file without a name, which is gone with *owner*. Raises OSError where there can be none."""
    import tempfile  # noqa: PLC0415 (lazy import: fast start-up)

    file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
    weakref.finalize(owner, file.close)  # nobody may ever read it to its end
    return file
