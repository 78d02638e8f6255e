"""Loads the Sigma rules of a command, and prints what is wrong with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from etwdetect.cli import note, say
from etwdetect.results.wording import printable

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from etwdetect.enrich.detection import Detection
    from etwdetect.results.sigma.matcher import SigmaMatcher


def sigma_matcher(paths: Sequence[Path], min_level: str | None, *, raises: bool) -> SigmaMatcher | None:
    """Return a matcher of the rules at *paths*, and print which can't be used; None where no path is given.

    Only rules of *min_level* or above are used; with *raises* their level raises severities.

    UsageError where no rule is left; MissingExtraError where pySigma is not installed.
    """
    if not paths:
        return None
    from etwdetect.results.sigma import NoRuleLoadedError, load_rules  # noqa: PLC0415 (lazy import: fast start-up)
    from etwdetect.results.sigma.matcher import SigmaMatcher  # noqa: PLC0415

    try:
        rules = load_rules(paths, min_level)
    except NoRuleLoadedError as error:
        raise click.UsageError(f"--sigma: {printable(str(error))}") from error
    for file, why in rules.broken:
        say(printable(f"{file} is left out: {why}"))
    for rule in rules.rules:
        if rule.oddities:
            say(printable(f"{rule.file} is used, but for its metadata: {'; '.join(rule.oddities)}"))
    if rules.below:
        note(f"--min-level: rules below {min_level}, or without a level: {rules.below:,}, left out")
    if rules.others:
        note(f"--sigma: files without a rule for remote threads: {rules.others:,}, skipped")
    return SigmaMatcher(rules, raises=raises)


def print_risks(matcher: SigmaMatcher, lacking: Collection[str]) -> None:
    """Name the rules of *matcher* that ask for one of the fields *lacking*, each once."""
    for risk in matcher.risks(lacking):
        say(printable(str(risk)))


def print_path_risks(matcher: SigmaMatcher, detection: Detection) -> None:
    """Name the rules of *matcher* that ask for paths which *detection* lacks, each once."""
    for risk in matcher.path_risks(detection):
        say(printable(str(risk)))
