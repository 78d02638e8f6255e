r"""Makes text out of a trace harmless: whoever starts a process chooses its name.

>>> printable("evil\x1b[2J\u202e.exe")
'evil\\x1b[2J\\u202e.exe'
>>> cell("=cmd|'/c calc'!A0")
"'=cmd|'/c calc'!A0"
>>> cell("a;=1+1")
"a;'=1+1"
"""

from __future__ import annotations

import re
from typing import Final

_FORMULA_STARTS: Final = frozenset("=+-@\uff1d\uff0b\uff0d\uff20")
_PARTED_FORMULA: Final = re.compile(rf""";(?=[\s"]*[{re.escape("".join(_FORMULA_STARTS))}])""")
"""A semicolon, at which spreadsheets of some countries part cells, and a formula behind it."""


def printable(text: str) -> str:
    """Return *text* with every character that does not print written as its escape.

    So are control and escape characters, line ends, marks that turn the writing direction, and surrogates
    without their other half.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")


def cell(text: str) -> str:
    """Return *text* as a table cell of which no spreadsheet takes anything for a formula."""
    safe = _PARTED_FORMULA.sub(";'", printable(text))
    return f"'{safe}" if safe.lstrip()[:1] in _FORMULA_STARTS else safe
