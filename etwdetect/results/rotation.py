"""A file that grows while others read it: whole lines at any moment, and moved aside when it is large."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

MEBIBYTE: Final = 1 << 20


class Rotation(NamedTuple):
    """When a file is moved aside, in bytes, and how many such are kept."""

    limit: int | None = None
    keep: int = 9


class GrowingFile:
    """A text stream to the end of the file at *path*, in UTF-8. All of it may raise OSError.

    Each `write` is one write of the system's: a program that is killed leaves whole lines. Should the file not end
    with one, because the machine lost its power, that line is ended first.
    """

    def __init__(self, path: Path, rotation: Rotation) -> None:
        self._path = path
        self._rotation = rotation
        self._open()
        if self._size and self._last_byte() != b"\n":
            self.write("\n")

    @property
    def is_new(self) -> bool:
        """Whether there is nothing in the file."""
        return self._size == 0

    @property
    def is_full(self) -> bool:
        """Whether it is time to `rotate`."""
        return self._rotation.limit is not None and self._size >= self._rotation.limit

    def rotate(self) -> None:
        """Move the file to NAME.1, what is there to NAME.2 and so on, and begin it anew.

        On Windows a file that another program reads can't be moved: then this one grows on.
        """
        self._file.close()
        names = [self._numbered(number) for number in range(self._rotation.keep + 1)]
        with contextlib.suppress(PermissionError):
            if not names[0].exists():  # left by an attempt that got no further
                self._path.replace(names[0])
            free = next((number for number, name in enumerate(names) if not name.exists()), self._rotation.keep)
            for number in range(free, 0, -1):
                names[number - 1].replace(names[number])
        self._open()

    def write(self, text: str) -> int:
        """Write *text*, which is whole lines."""
        data = text.encode("utf-8", "backslashreplace")
        self._file.write(data)
        self._size += len(data)
        return len(text)

    def flush(self) -> None:
        """Do nothing: nothing is ever held back."""

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _open(self) -> None:
        self._file = self._path.open("ab", buffering=0)
        self._size = self._file.seek(0, os.SEEK_END)

    def _last_byte(self) -> bytes:
        with self._path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read()

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")
