"""Sigma rules on remote threads; needs the extra ``etwdetect[sigma]``, which is loaded with `load_rules` only.

The rules are made into SQL by pySigma and its SQLite backend. Records are put into a table in memory, and every
rule asks that table. docs/sigma.md has what a rule can ask.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from etwdetect.core.errors import MissingExtraError
from etwdetect.results.sigma.errors import NoRuleLoadedError, SigmaError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from etwdetect.results.sigma.rules import Rules

__all__ = ["NoRuleLoadedError", "SigmaError", "load_rules"]


def load_rules(paths: Iterable[Path]) -> Rules:
    """Return the rules for remote threads in the files and directories *paths*.

    Raises MissingExtraError where the extra is not installed, and NoRuleLoadedError where no rule is left.
    """
    try:
        from etwdetect.results.sigma.rules import Rules  # noqa: PLC0415 (what it imports may not be there)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "etwdetect":
            raise
        raise MissingExtraError("--sigma", f"pySigma ({error.name} is not there)", "sigma") from error
    return Rules(paths)
