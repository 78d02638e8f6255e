"""Sigma rules on remote threads; needs the extra ``etwdetect[sigma]``, which is imported by `load_rules` only.

pySigma and its SQLite backend compile the rules to SQL, which queries a table in memory that holds the records.
docs/user/sigma.md says what a rule can ask for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from etwdetect.core.errors import MissingExtraError
from etwdetect.results.sigma.errors import NoRuleLoadedError, SigmaError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from etwdetect.results.sigma.rules import RuleSet

__all__ = ["NoRuleLoadedError", "SigmaError", "load_rules"]


def load_rules(paths: Iterable[Path], min_level: str | None = None) -> RuleSet:
    """Return the rules for remote threads in the files and directories *paths*, of *min_level* or above.

    Raises MissingExtraError where the extra is not installed, and NoRuleLoadedError where no rule is left.
    """
    try:
        from etwdetect.results.sigma.rules import RuleSet  # noqa: PLC0415 (pySigma may not be installed)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "etwdetect":
            raise
        raise MissingExtraError("--sigma", f"pySigma ({error.name} is not installed)", "sigma") from error
    return RuleSet(paths, min_level)
