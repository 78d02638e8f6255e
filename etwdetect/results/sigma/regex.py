"""Regular expressions that take linear time, whatever the rule and the record: RE2's."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, cast

import re2
from sigma.policy.regex_engine import RegexEngine

if TYPE_CHECKING:
    from sigma.policy.regex_engine import RegexPattern

_LETTERS = {re.IGNORECASE: "i", re.MULTILINE: "m", re.DOTALL: "s"}


@cache
def compiled(pattern: str) -> RegexPattern:
    """Return *pattern*, compiled. Raises re2.error."""
    options = re2.Options()
    options.log_errors = False  # they are raised; by default they are printed on standard error too
    return cast("RegexPattern", re2.compile(pattern, options))


class QuietRe2(RegexEngine):
    """What pySigma checks regular expressions with."""

    def compile(self, pattern: str, flags: int = 0) -> RegexPattern:
        """Return *pattern*, compiled with Python's *flags*."""
        letters = "".join(letter for flag, letter in _LETTERS.items() if flags & flag)
        return compiled(f"(?{letters}){pattern}" if letters else pattern)

    @property
    def error(self) -> type[Exception]:
        """What `compile` raises."""
        return cast("type[Exception]", re2.error)
