"""Which rows of a recording were seen, by their numbers: a row that comes twice counts once."""

from __future__ import annotations

from typing import Final

_ROWS_OF_A_PAGE: Final = 1024

MOST_PAGES: Final = 1 << 17
"""How many pages are remembered, with 128 bytes and a place each: 134 million rows, in 40 MB."""


class SeenNumbers:
    """The numbers that were seen. In order, from 0 on, they take no memory; others have a bit each.

    *is_full* says that not all could be remembered, because they lie too far apart.
    """

    def __init__(self) -> None:
        self.is_full = False
        self._next = 0
        """All numbers before it were seen."""
        self._pages: dict[int, bytearray] = {}
        """What was seen beyond it."""

    def is_new(self, number: int) -> bool:
        """Whether *number*, at least 0, is seen for the first time, as far as is remembered."""
        if number < self._next:
            return False
        if number == self._next and not self._pages:
            self._next += 1
            return True
        at, place = divmod(number, _ROWS_OF_A_PAGE)
        page = self._pages.get(at)
        if page is None:
            if len(self._pages) == MOST_PAGES:
                self.is_full = True
                return True
            page = self._pages[at] = bytearray(_ROWS_OF_A_PAGE // 8)
        byte, bit = place >> 3, 1 << (place & 7)
        if page[byte] & bit:
            return False
        page[byte] |= bit
        if number == self._next:
            self._pass_over()
        return True

    def _pass_over(self) -> None:
        """Move `_next` behind all that was seen without a gap, and forget what it passes."""
        at, place = divmod(self._next, _ROWS_OF_A_PAGE)
        while (page := self._pages.get(at)) is not None:
            while place < _ROWS_OF_A_PAGE and page[place >> 3] & 1 << (place & 7):
                place += 1
            if place < _ROWS_OF_A_PAGE:
                break
            del self._pages[at]
            at, place = at + 1, 0
        self._next = at * _ROWS_OF_A_PAGE + place
