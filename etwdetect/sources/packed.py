"""Opens plain files, .gz files and members of .zip files alike.

`sources.archive`, which unpacks, is imported only for a packed file: fast start-up.
"""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Final

from etwdetect.core.errors import NotATraceError

if TYPE_CHECKING:
    from contextlib import ExitStack
    from pathlib import Path

GZIP_MAGIC: Final = b"\x1f\x8b"
ZIP_MAGIC: Final = b"PK\x03\x04"


def plain(stack: ExitStack, path: Path, name: str, member: str | None = None) -> tuple[IO[bytes], str | None]:
    """Return the file at *path*, or *member* of that .zip, unpacked, and the error if it is incomplete.

    *stack* closes it. Raises NotATraceError, with *name*, if nothing could be read.
    """
    try:
        file: IO[bytes] = stack.enter_context(path.open("rb", buffering=0))
        magic = file.read(len(GZIP_MAGIC))
        file.seek(0)
    except OSError as error:
        raise NotATraceError(name, f"cannot be opened: {error.strerror}") from error
    if member is None and magic != GZIP_MAGIC:
        return file, None
    from etwdetect.sources.archive import unpack  # noqa: PLC0415 (lazy import: fast start-up)

    return unpack(stack, file, member, name)
