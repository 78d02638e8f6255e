"""etwdetect scan: the remote threads in recorded traces, and those that were saved."""

from __future__ import annotations

import functools
from itertools import chain
from typing import TYPE_CHECKING, Final

import click

from etwdetect.cli import options, tell
from etwdetect.cli.enrichment import Enrichment, enrichment_options
from etwdetect.cli.inputs import Inputs, consume
from etwdetect.cli.limits import limit_option
from etwdetect.cli.printing import Printed
from etwdetect.cli.results import Choices, Results, results_options
from etwdetect.cli.sources import Source, SysmonSource, TraceSource
from etwdetect.core.raw import KERNEL_PROCESS, THREAD
from etwdetect.offline import summary
from etwdetect.results.fields import RecordSource
from etwdetect.results.sinks import WAIT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from etwdetect.cli.options import TraceChoices
    from etwdetect.cli.status import Status
    from etwdetect.enrich.detection import Detection
    from etwdetect.results.clock import Clock
    from etwdetect.results.filters import Filter

_SOURCES: Final = {THREAD: RecordSource.KERNEL_LOGGER, KERNEL_PROCESS: RecordSource.KERNEL_PROCESS}


@click.command()
@click.argument("traces", nargs=-1, required=True, type=options.INPUT_PATH, metavar="TRACE...")
@results_options
@limit_option
@enrichment_options()
@options.trace_options
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=WAIT,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for a receiver (--to) that takes nothing.",
)
@options.jobs_option
@click.option("--stats", is_flag=True, help="Print statistics on standard error.")
def command(  # noqa: PLR0913 (one parameter an option)
    traces: Sequence[Path],
    results: Results,
    enrichment: Enrichment,
    choices: TraceChoices,
    *,
    stats: bool,
    wait: float,
    jobs: int | None,
) -> Status:
    """Print the remote threads in recorded traces.

    TRACE is an .etl file or a file of events (.jsonl, .parquet), also packed (.gz, .xz, .bz2, .zst) or in an
    archive (.zip, .tar), a directory of such, or - for standard input. Each is scanned on its own. Results saved
    with --format json can be given, too, and what Sysmon reported: .evtx, or its events as JSON or XML.
    """
    recipe = results.recipe()
    printer = functools.partial(_Printer, *recipe) if recipe else None
    found = Inputs(traces, choices, enrichment=enrichment, saved=True, jobs=jobs, printer=printer)
    with results.open((*found.files(), *enrichment.files_read), wait=wait):
        found.show_in(results.clock)
        consume(found, _Shown(results, stats=stats))
    return results.status(found.statuses)


class _Shown:
    """Gives all detections to *results*; with *stats*, prints statistics about each scan."""

    def __init__(self, results: Results, *, stats: bool) -> None:
        self._results = results
        self._stats = stats
        self._filtered_out_before = 0

    def take(self, source: Source) -> None:
        """Show the detections of *source*."""
        self._results.flush()  # what an input that failed has left behind
        self._filtered_out_before = self._results.filtered_out
        printed = source.printed()
        if printed is not None:
            for each in printed:
                self._results.take(each)
            return
        detections = source.detections()
        first = next(detections, None)  # now the source is known
        self._prepare(source)
        if first is not None:
            for detection in chain((first,), detections):
                self._results.show(detection)
        self._results.flush()

    def close(self, source: Source, failure: str | None) -> str:  # noqa: ARG002 (it is said already)
        """Print the statistics, and return the closing line."""
        if self._stats and isinstance(source, TraceSource):
            for line in summary.stats(source.result()):
                tell(line)
        return source.closing(self._results.filtered_out - self._filtered_out_before)

    def _prepare(self, source: Source) -> None:
        """Say what *source* lacks for Sigma, and show dates where it spans days."""
        results = self._results
        if isinstance(source, TraceSource):
            result = source.result()
            results.come_from(
                *(_SOURCES[provider] for provider in result.thread_providers if provider in _SOURCES),
                functions=result.finds_functions,
                modules=any(kind.startswith("Image") for kind in result.counts),
            )
            first, last = (results.clock.moment(time).date() for time in result.span or (0, 0))
            results.clock.dates = results.clock.dates or first != last
        elif isinstance(source, SysmonSource):
            results.come_from(RecordSource.SYSMON)
            results.clock.dates = True  # they are not of today, mostly
        else:
            results.come_from()  # each record names the detector that it is from
            results.clock.dates = True  # they may be of any day


class _Printer:
    """Prints as the Results of the command do, in a process that scans one of several traces."""

    def __init__(self, choices: Choices, wanted: Filter, clock: Clock) -> None:
        self._lines: list[str] = []
        self._results = Results(choices, wanted, clock)
        self._results.write_to(self, heading=False)
        self._before = (0, 0)

    def write(self, text: str) -> int:
        """Take a line."""
        self._lines.append(text)
        return len(text)

    def show(self, detection: Detection) -> None:
        """Take the next detection."""
        self._results.show(detection)

    def flush(self) -> None:
        """Print what the processors hold."""
        self._results.flush()

    def printed(self) -> Printed:
        """Return what was printed since this was asked the last time."""
        before = self._before
        shown, filtered_out = self._before = (self._results.shown, self._results.filtered_out)
        lines, self._lines = self._lines, []
        return Printed(lines, shown - before[0], filtered_out - before[1])
