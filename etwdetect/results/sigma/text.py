r"""How a record's values are compared: as SQLite's text, without regard to case.

SQLite ignores the case of ASCII letters alone, ends text at a NUL and refuses surrogates; a name in a record may
have any of them.

>>> folded("C:\\Users\\JÜRGEN") == folded("C:\\Users\\JüRGEN")
True
>>> cleaned("a\0b")
'a\ufffdb'
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    SqlValue = str | int | None

MISSING: Final = frozenset(("", "-"))
"""Texts that mean the same as null and an absent field."""

_UNFIT: Final = re.compile("[\0\ud800-\udfff]")
_INT64: Final = range(-(1 << 63), 1 << 63)


class _Fold(dict[int, int]):
    """Maps each character to one character, so that lengths and offsets stay; filled on demand."""

    def __missing__(self, code: int) -> int:
        upper = chr(code).upper()
        # Letters stay if their upper case is several letters, or ASCII, which SQLite does not do either.
        self[code] = ord(upper) if code > 0x7F and len(upper) == 1 and not upper.isascii() else code
        return self[code]


_FOLD: Final = _Fold()


def cleaned(text: str) -> str:
    """Return *text* with U+FFFD for each NUL and each surrogate."""
    return _UNFIT.sub("\ufffd", text)


def folded(text: str) -> str:
    """Return *text* cleaned, with all letters beyond ASCII in upper case."""
    if text.isascii():
        return text if "\0" not in text else cleaned(text)
    return cleaned(text).translate(_FOLD)


def comparable(value: object, form: Callable[[str], str]) -> SqlValue:
    """Return a record's *value* as the table holds it, text in the given *form*; None where it is missing."""
    if isinstance(value, str):
        return None if value in MISSING else form(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return value if value in _INT64 else str(value)
    if isinstance(value, (list, tuple)):
        return comparable(" ".join(map(str, value)), form)
    return None
