"""etwdetect explain: why each remote thread is of the kind that it is."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import click

from etwdetect.cli import options
from etwdetect.cli.enrichment import Enrichment, enrichment_options
from etwdetect.cli.inputs import Inputs, consume
from etwdetect.cli.limits import OutputLimit, limit_option
from etwdetect.cli.printing import Printed
from etwdetect.cli.status import Status, of_all
from etwdetect.enrich.call_fields import CALL_FIELDS
from etwdetect.enrich.fields import FIELDS
from etwdetect.enrich.kind_rules import SEVERITIES
from etwdetect.enrich.kinds import AT_LEAST
from etwdetect.results.clock import Clock
from etwdetect.results.formats.text import stack_text, text_line
from etwdetect.results.wording import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from etwdetect.cli.sources import Source
    from etwdetect.enrich.detection import Detection
    from etwdetect.enrich.kinds import Kinds, RuleOutcome
    from etwdetect.results.filters import Filter


@click.command()
@click.argument("inputs", nargs=-1, required=True, type=options.INPUT_PATH, metavar="INPUT...")
@options.filter_options
@limit_option
@enrichment_options()
@click.option("--utc", is_flag=True, help="Show and take times in UTC instead of local time.")
@options.trace_options
@options.jobs_option
def command(
    inputs: Sequence[Path],
    enrichment: Enrichment,
    choices: options.TraceChoices,
    *,
    utc: bool,
    jobs: int | None,
    **filters: Any,  # noqa: ANN401
) -> Status:
    """Print for each remote thread which rule decided its kind and its severity, and what the other rules missed.

    INPUT is what `etwdetect scan` takes. Saved results keep the kind that they were saved with; below it is what
    the rules say of the record now.
    """
    wanted = options.make_filter(**filters, utc=utc)
    clock = Clock(in_utc=utc, dates=True)
    printer = functools.partial(_Printer, wanted, enrichment.kinds, clock)
    found = Inputs(inputs, choices, enrichment=enrichment, saved=True, jobs=jobs, printer=printer)
    found.show_in(clock)
    explained = _Explained(printer())
    consume(found, explained)
    if explained.limit.met:
        found.statuses.append(Status.INCOMPLETE)
    return of_all(found.statuses, found=False)


class _Explained:
    """Writes what *printer* prints of each source."""

    def __init__(self, printer: _Printer) -> None:
        self._printer = printer
        self.limit = OutputLimit()
        self._filtered_out = 0

    def take(self, source: Source) -> None:
        """Print the explanations of the detections of *source*."""
        self._filtered_out = 0
        there = source.printed()
        for printed in self._printed(source) if there is None else there:
            self._filtered_out += printed.filtered_out
            for text in printed.lines:
                if self.limit.allows(len(text)):
                    click.echo(text, nl=False)

    def _printed(self, source: Source) -> Iterator[Printed]:
        for detection in source.detections():
            self._printer.show(detection)
            yield self._printer.printed()

    def close(self, source: Source, failure: str | None) -> str:  # noqa: ARG002 (it is said already)
        """Return the closing line."""
        return source.closing(self._filtered_out)


class _Printer:
    """Prints why the rules *kinds* judge each detection as they do, for those that *wanted* passes."""

    def __init__(self, wanted: Filter, kinds: Kinds, clock: Clock) -> None:
        self._wanted = wanted
        self._kinds = kinds
        self._clock = clock
        self._lines: list[str] = []
        self._filtered_out = 0

    def show(self, detection: Detection) -> None:
        """Take the next detection."""
        if not (self._wanted.passes(detection.thread) and self._wanted.is_severe(detection)):
            self._filtered_out += 1
            return
        explained = (f"  {line}" for line in explanation(detection, self._kinds))
        self._lines.append("\n".join((text_line(detection, self._clock), *explained, "")))

    def flush(self) -> None:
        """Do nothing: none is held."""

    def printed(self) -> Printed:
        """Return what was printed since this was asked the last time."""
        printed = Printed(self._lines, len(self._lines), self._filtered_out)
        self._lines, self._filtered_out = [], 0
        return printed


def explanation(detection: Detection, kinds: Kinds) -> Iterator[str]:
    """Yield the lines that say what kind *detection* is and why, what each rule says, and what is not known.

    Rules that ask for a call stack are left out where there is none.
    """
    absent = dict(detection.absent)
    yield printable(f"kind: {detection.kind or 'not known'}; severity: {detection.severity or 'not known'}")
    yield f"because {printable(detection.reason or absent.get('Kind', 'no rule has a kind for it'))}"
    stack = stack_text(detection.calls)
    if stack is not None:
        yield printable(stack)
    for outcome in kinds.evaluate(detection):
        rule = outcome.rule
        if stack is None and outcome.missed is not None and outcome.missed.field in CALL_FIELDS:
            continue
        yield f"{printable(rule.name)} ({printable(rule.origin)}): {_made(outcome, detection)}"
    for name, why in absent.items():
        if name != "Kind":
            yield printable(f"no {name}: {why}")


def _made(outcome: RuleOutcome, detection: Detection) -> str:
    """Return what one rule says of *detection*."""
    missed = outcome.missed
    if missed is None:
        at_least = outcome.rule.at_least
        raises = f"that the severity is at least {at_least}"
        decided = " and ".join(raises if name == AT_LEAST else name for name in outcome.assigned)
        if outcome.assigned == (AT_LEAST,) and at_least == SEVERITIES[-1]:
            return "fits, adds its reason"
        return f"fits, decides {decided}" if decided else "fits, but comes later"
    value = FIELDS[missed.field](detection)
    known = ", ".join((value,) if isinstance(value, str) else value or ()) or "unknown"
    asked = " or ".join(pattern or "unknown" for pattern in missed.patterns)
    return f"missed: {missed.field} is {printable(known)}, must be {printable(asked)}"
