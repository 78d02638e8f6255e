r"""Makes text from a trace harmless in the cells of a table.

>>> cell("=cmd|'/c calc'!A0")
"'=cmd|'/c calc'!A0"
>>> cell("a;=1+1")
"a;'=1+1"
"""

from __future__ import annotations

import re
from typing import Final

from etwdetect.results.wording import printable

_FORMULA_STARTS: Final = frozenset("=+-@\uff1d\uff0b\uff0d\uff20")
_PARTED_FORMULA: Final = re.compile(rf""";(?=[\s"]*[{re.escape("".join(_FORMULA_STARTS))}])""")
"""A semicolon, which separates cells in spreadsheets of some countries, and a formula behind it."""


def cell(text: str) -> str:
    """Return *text* as a table cell in which no spreadsheet sees a formula."""
    safe = _PARTED_FORMULA.sub(";'", printable(text))
    return f"'{safe}" if safe.lstrip()[:1] in _FORMULA_STARTS else safe
