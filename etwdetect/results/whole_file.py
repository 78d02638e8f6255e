"""A file that is written beside the one that it replaces: others see the old one or the whole new one."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from types import TracebackType

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


class WholeFile(io.TextIOWrapper):
    """A text stream, in UTF-8, to a file that takes the place of *path* when it is closed. All may raise OSError.

    As a context manager it is closed at the end of the block, and discarded where that raises an exception. What
    is no regular file, such as a pipe, is written in place, and so is a file in a folder that takes no new ones. A
    killed program may leave the new file, called .etwdetect-….part.
    """

    def __init__(self, path: Path) -> None:
        self._target = Path(os.path.realpath(path))
        self._part: Path | None = self._target.with_name(f".etwdetect-{os.urandom(8).hex()}.part")
        super().__init__(self._opened(path), "utf-8", newline="")

    def _opened(self, path: Path) -> IO[bytes]:
        try:
            mode: int | None = path.stat().st_mode
        except FileNotFoundError:
            mode = None
        if mode is not None and not stat.S_ISREG(mode):
            return self._in_place(path)
        if mode is not None and not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        assert self._part is not None
        try:
            descriptor = os.open(self._part, _NEW, 0o666)
        except PermissionError:
            if mode is None:
                raise
            return self._in_place(path)
        if mode is not None:
            with contextlib.suppress(OSError):  # not every file system has modes
                self._part.chmod(stat.S_IMODE(mode))
        return os.fdopen(descriptor, "wb")

    def _in_place(self, path: Path) -> IO[bytes]:
        self._part = None
        return path.open("wb")

    def close(self) -> None:
        """Close the file, and put it in its place; closing it again does nothing."""
        if self.closed:
            return
        try:
            super().close()
            if self._part is not None:
                self._part.replace(self._target)
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        """Close the file and remove it: what was at the path stays."""
        with contextlib.suppress(OSError):
            super().close()
        if self._part is not None:
            with contextlib.suppress(OSError):
                self._part.unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()
