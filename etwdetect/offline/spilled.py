"""Bytes that are put aside while a trace is read: in memory up to a limit, beyond it in a temporary file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from etwdetect.core.files import temporary_file

if TYPE_CHECKING:
    from typing import IO


class SpilledBytes:
    """The base of what puts records aside, and looks for them later by their places.

    A place is how many bytes were put aside before. Who adds to `_buffer` calls `_spill` once that has `_limit`
    bytes: they are then a block of an anonymous temporary file, which is gone with this object.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()
        """What is not in the file, and behind what is."""
        self._in_file = 0
        """The size of the file in bytes."""
        self._blocks: list[int] = []
        """The size of each block in the file, in bytes."""
        self._file: IO[bytes] | None = None

    def _spill(self) -> None:
        """Write the buffer to the file. Raises OSError where there is no room."""
        if self._file is None:
            self._file = temporary_file(self)
        self._file.seek(0, 2)
        self._file.write(self._buffer)
        self._blocks.append(len(self._buffer))
        self._in_file += len(self._buffer)
        self._buffer = bytearray()

    def _read(self, place: int, size: int) -> bytes:
        """Return *size* bytes of the file from *place* on, fewer at its end."""
        assert self._file is not None
        self._file.seek(place)
        return self._file.read(size)
