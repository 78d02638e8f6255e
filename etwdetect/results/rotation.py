"""A file that is appended to while others read it: always whole lines, and rotated when it is large."""

from __future__ import annotations

import contextlib
import os
import threading
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

    A thread that reads the files holds `changed` meanwhile, so that they can be renamed on Windows; each write
    notifies it. `lines` counts those written.
    """

    def __init__(self, path: Path, rotation: Rotation) -> None:
        self.path = path
        self.changed = threading.Condition()
        self.lines = 0
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
        with self.changed:
            self._file.close()
            self._rename()
            self._open()

    def _rename(self) -> None:
        names = [self._numbered(number) for number in range(self._rotation.keep + 1)]
        with contextlib.suppress(PermissionError):
            if not names[0].exists():  # left by an attempt that failed here
                self.path.replace(names[0])
            free = next((number for number, name in enumerate(names) if not name.exists()), self._rotation.keep)
            for number in range(free, 0, -1):
                names[number - 1].replace(names[number])

    def write(self, text: str) -> int:
        """Write *text*, which is whole lines."""
        data = text.encode("utf-8", "backslashreplace")
        with self.changed:
            self._file.write(data)
            self._size += len(data)
            self.lines += data.count(b"\n")
            self.changed.notify_all()
        return len(text)

    def paths(self) -> list[Path]:
        """Return the paths of the files there are, the oldest first."""
        with os.scandir(self.path.parent) as entries:
            names = {entry.name for entry in entries if entry.name.startswith(self.path.name)}
        numbered = [self._numbered(number) for number in range(self._rotation.keep, -1, -1)]
        return [path for path in (*numbered, self.path) if path.name in names]

    def flush(self) -> None:
        """Do nothing: writes are not buffered."""

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _open(self) -> None:
        self._file = self.path.open("ab", buffering=0)
        self._size = self._file.seek(0, os.SEEK_END)

    def _last_byte(self) -> bytes:
        with self.path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read()

    def _numbered(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")
