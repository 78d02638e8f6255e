"""etwdetect scan: the remote threads in recorded traces, and those that were saved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from etwdetect.cli import options, say, tell
from etwdetect.cli.enrichment import Enrichment, enrichment_options
from etwdetect.cli.inputs import Traces, status_of_saved
from etwdetect.cli.results import Results, results_options
from etwdetect.cli.status import Status
from etwdetect.core.errors import EtwDetectError
from etwdetect.core.raw import KERNEL_PROCESS, THREAD
from etwdetect.offline import summary
from etwdetect.results.fields import Source

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from etwdetect.enrich.detection import Detection
    from etwdetect.offline import Scan
    from etwdetect.results.saved import SavedResults

_SOURCES: Final = {THREAD: Source.KERNEL_LOGGER, KERNEL_PROCESS: Source.KERNEL_PROCESS}


@click.command()
@click.argument("traces", nargs=-1, required=True, type=options.INPUT_PATH, metavar="TRACE...")
@results_options
@enrichment_options()
@click.option("--join", is_flag=True, help="Take the traces for consecutive files of one session.")
@click.option("--stats", is_flag=True, help="Print statistics on standard error.")
def command(
    traces: Sequence[Path], results: Results, enrichment: Enrichment, *, join: bool, stats: bool
) -> Status:
    """Print the remote threads in recorded traces.

    TRACE is an .etl file, one inside a .zip or .gz, a file of events (.jsonl, .jsonl.gz, .parquet), or a directory
    of such. Each is judged alone. What was written with --format json can be given, too, also packed.
    """
    found = Traces(traces, join=join, enrichment=enrichment, results=True)
    with results.open(traces):
        results.clock.dates = len(found) > 1
        for scan in found.scans():
            found.statuses.append(_show(found, scan, results, stats=stats))
            results.flush()
        for saved in found.saved():
            found.statuses.append(_show_saved(found, saved, results))
            results.flush()
    return results.status(found.statuses)


def _show(found: Traces, scan: Scan, results: Results, *, stats: bool) -> Status:
    """Give the detections of *scan* to *results*; return what is to be said of it."""
    filtered_out = 0
    try:
        for detection in _announced(scan, found.until_stopped(scan, scan.detections()), results):
            results.clock.dates = results.clock.dates or _spans_days(scan, results)
            filtered_out += not results.show(detection)
    except EtwDetectError as error:
        say(f"{summary.name(scan)}: {error}")
        return Status.ERROR
    finally:
        incomplete = _tell(scan, filtered_out, stats=stats)
    return Status.INCOMPLETE if incomplete else Status.DONE


def _show_saved(found: Traces, saved: SavedResults, results: Results) -> Status:
    """Give the detections of *saved* to *results*; return what is to be said of it."""
    filtered_out = 0
    results.clock.dates = True  # they may be of any day
    results.come_from()  # which of the sources it was, each record knows for itself
    try:
        for detection in found.until_stopped(saved, saved.detections()):
            filtered_out += not results.show(detection)
    finally:
        for line in saved.warnings():
            say(line)
        say(saved.closing(filtered_out))
    return status_of_saved(saved)


def _announced(scan: Scan, detections: Iterator[Detection], results: Results) -> Iterator[Detection]:
    """Yield *detections*; before the first, once *scan* has read its trace, say what it lacks for Sigma."""
    first = next(detections, None)
    results.come_from(
        *(_SOURCES[provider] for provider in scan.thread_providers if provider in _SOURCES),
        functions=scan.finds_functions,
        modules=any(kind.startswith("Image") for kind in scan.counts),
    )
    if first is not None:
        yield first
        yield from detections


def _tell(scan: Scan, filtered_out: int, *, stats: bool) -> bool:
    """Print what is to be said of *scan*; return whether it was incomplete."""
    warnings = list(summary.warnings(scan))
    for line in (*warnings, *summary.notes(scan)):
        say(line)
    for line in summary.stats(scan) if stats else ():
        tell(line)
    say(summary.closing(scan, filtered_out))
    return bool(warnings)


def _spans_days(scan: Scan, results: Results) -> bool:
    first, last = (results.clock.moment(time).date() for time in scan.span or (0, 0))
    return first != last
