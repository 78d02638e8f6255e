"""A file that is appended to while others read it: always whole lines, and rotated when it is large."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

MEBIBYTE: Final = 1 << 20


class Rotation(NamedTuple):
    """When a file is rotated, in bytes, and how many older ones are kept."""

    limit: int | None = None
    keep: int = 9


class GrowingFile:
    """A text stream to the end of the file at *path*, in UTF-8. All of it may raise OSError.

    Each `write` is one system call, so a killed program leaves whole lines. A file that ends within a line, after
    a power failure, gets a line end first.
    """

    def __init__(self, path: Path, rotation: Rotation) -> None:
        self._path = path
        self._rotation = rotation
        self._open()
        if self._size and self._last_byte() != b"\n":
            self.write("\n")

    @property
    def is_new(self) -> bool:
        """Whether the file is empty."""
        return self._size == 0

    @property
    def is_full(self) -> bool:
        """Whether it is time to `rotate`."""
        return self._rotation.limit is not None and self._size >= self._rotation.limit

    def rotate(self) -> None:
        """Rename the file to NAME.1, that one to NAME.2 and so on, and begin a new file.

        On Windows a file that another program has open can't be renamed: then this one keeps growing.
        """
        self._file.close()
        names = [self._numbered(number) for number in range(self._rotation.keep + 1)]
        with contextlib.suppress(PermissionError):
            if not names[0].exists():  # left by an attempt that failed here
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
        """Do nothing: writes are not buffered."""

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
