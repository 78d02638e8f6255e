"""Where the rows of one recording stand in a file: recordings may be interleaved."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_OF_ONE = 3


class Pieces:
    """Ranges of a file, in order: from *begin* to before *end*, and the number of the first row in it.

    24 bytes for each, and one for all that follow each other without a gap.
    """

    __slots__ = ("_numbers",)

    def __init__(self) -> None:
        self._numbers = array("Q")

    def __len__(self) -> int:
        return len(self._numbers) // _OF_ONE

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        numbers = iter(self._numbers)
        return zip(numbers, numbers, numbers, strict=True)

    def add(self, begin: int, end: int, number: int, *, follows: bool) -> None:
        """Add a range behind all others; one that *follows* the last directly becomes part of it."""
        if follows and self._numbers:
            self._numbers[-2] = end
        else:
            self._numbers.extend((begin, end, number))

    @property
    def begin(self) -> int:
        """Where the first range begins."""
        return self._numbers[0]

    @property
    def end(self) -> int:
        """Where the last range ends."""
        return self._numbers[-2]
