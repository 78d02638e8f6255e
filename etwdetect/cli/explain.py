"""etwdetect explain: why each remote thread is of the kind that it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from etwdetect.cli import options, say
from etwdetect.cli.enrichment import Enrichment, enrichment_options
from etwdetect.cli.inputs import Traces, status_of_saved
from etwdetect.cli.status import Status, of_all
from etwdetect.core.errors import EtwDetectError
from etwdetect.enrich.fields import FIELDS
from etwdetect.offline import summary
from etwdetect.results.clock import Clock
from etwdetect.results.escape import printable
from etwdetect.results.formats.text import text_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from etwdetect.enrich.detection import Detection
    from etwdetect.enrich.kinds import Kinds, RuleOutcome


@click.command()
@click.argument("inputs", nargs=-1, required=True, type=options.INPUT_PATH, metavar="INPUT...")
@options.filter_options
@enrichment_options()
@click.option("--utc", is_flag=True, help="Show and take times in UTC instead of local time.")
@click.option("--join", is_flag=True, help="Take the traces for consecutive files of one session.")
def command(inputs: Sequence[Path], enrichment: Enrichment, *, utc: bool, join: bool, **filters: Any) -> Status:  # noqa: ANN401
    """Print for each remote thread which rule decided its kind and its severity, and what the other rules missed.

    INPUT is what `etwdetect scan` takes. Saved results keep the kind that they were saved with; the rules are
    shown as they judge the record now.
    """
    wanted = options.make_filter(**filters, utc=utc)
    found = Traces(inputs, join=join, enrichment=enrichment, results=True)
    clock = Clock(in_utc=utc)
    clock.dates = True

    def explain(detections: Iterator[Detection]) -> int:
        """Print the explanations; return how many *detections* were filtered out."""
        filtered_out = 0
        for detection in detections:
            if not wanted.passes(detection.thread):
                filtered_out += 1
                continue
            click.echo(text_line(detection, clock))
            for line in explanation(detection, enrichment.kinds):
                click.echo(f"  {line}")
        return filtered_out

    for scan in found.scans():
        try:
            closing = summary.closing(scan, explain(found.until_stopped(scan, scan.detections())))
        except EtwDetectError as error:
            say(f"{summary.name(scan)}: {error}")
            found.statuses.append(Status.ERROR)
            continue
        warnings = list(summary.warnings(scan))
        _tell(warnings, closing)
        found.statuses.append(Status.INCOMPLETE if warnings else Status.DONE)
    for saved in found.saved():
        closing = saved.closing(explain(found.until_stopped(saved, saved.detections())))
        _tell(saved.warnings(), closing)
        found.statuses.append(status_of_saved(saved))
    return of_all(found.statuses, found=False)


def _tell(warnings: Iterable[str], closing: str) -> None:
    """Print what is to be said of an input."""
    for line in (*warnings, closing):
        say(line)


def explanation(detection: Detection, kinds: Kinds) -> Iterator[str]:
    """Yield the lines that say what *detection* is taken for and why, for each rule, and for what is missing."""
    absent = dict(detection.absent)
    yield printable(f"kind: {detection.kind or 'not known'}; severity: {detection.severity or 'not known'}")
    yield f"because {printable(detection.reason or absent.get('Kind', 'no rule has a kind for it'))}"
    for outcome in kinds.evaluate(detection):
        rule = outcome.rule
        yield f"{printable(rule.name)} ({printable(rule.origin)}): {_made(outcome, detection)}"
    for name, why in absent.items():
        if name != "Kind":
            yield printable(f"no {name}: {why}")


def _made(outcome: RuleOutcome, detection: Detection) -> str:
    """Return what one rule made of *detection*."""
    missed = outcome.missed
    if missed is None:
        return f"fits, decides {' and '.join(outcome.assigned)}" if outcome.assigned else "fits, but comes later"
    value = FIELDS[missed.field](detection)
    known = ", ".join((value,) if isinstance(value, str) else value or ()) or "unknown"
    asked = " or ".join(pattern or "unknown" for pattern in missed.patterns)
    return f"missed: {missed.field} is {printable(known)}, must be {printable(asked)}"
