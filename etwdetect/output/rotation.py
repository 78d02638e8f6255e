"""A file that grows while others read it: whole lines at any moment, and moved aside when it is large."""

from __future__ import annotations

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
        """Move the file to NAME.1, what is there to NAME.2 and so on, and begin it anew."""
        self._file.close()
        for number in range(self._rotation.keep, 0, -1):
            older = self._path if number == 1 else self._numbered(number - 1)
            if older.exists():
                older.replace(self._numbered(number))
        self._path.unlink(missing_ok=True)
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
