"""The Sigma rules of a command: loaded, and what is to be said of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from etwdetect.cli import say
from etwdetect.results.sigma import NoRuleLoadedError, load_rules
from etwdetect.results.sigma.stage import SigmaStage
from etwdetect.results.wording import printable

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path


def sigma_stage(paths: Sequence[Path]) -> SigmaStage | None:
    """Return a stage with the rules at *paths*, and say what of them can't be used; None where there are none.

    UsageError where no rule is left; MissingExtraError where pySigma is not installed.
    """
    if not paths:
        return None
    try:
        rules = load_rules(paths)
    except NoRuleLoadedError as error:
        raise click.UsageError(f"--sigma: {printable(str(error))}") from error
    for file, why in rules.broken:
        say(printable(f"{file} is left out: {why}"))
    if rules.others:
        say(f"--sigma: files without a rule for remote threads: {rules.others:,}, skipped")
    return SigmaStage(rules)


def tell_risks(stage: SigmaStage, lacking: Collection[str]) -> None:
    """Name the rules of *stage* that ask for one of the fields *lacking*, each once."""
    for risk in stage.risks(lacking):
        say(printable(str(risk)))
