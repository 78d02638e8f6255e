"""etwdetect report: the remote threads of recorded traces as one page for a browser."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from etwdetect._version import __version__
from etwdetect.cli import options, say, stdio
from etwdetect.cli.enrichment import Enrichment, enrichment_options
from etwdetect.cli.inputs import Traces, status_of_saved
from etwdetect.cli.status import Status, of_all
from etwdetect.core.errors import EtwDetectError
from etwdetect.offline import summary
from etwdetect.results.report.inputs import ReportInput
from etwdetect.results.report.page import render
from etwdetect.results.report.records import Records
from etwdetect.results.wording import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from etwdetect.enrich.detection import Detection
    from etwdetect.offline import Scan
    from etwdetect.results.filters import Filter
    from etwdetect.results.saved import SavedResults


@click.command()
@click.argument("inputs", nargs=-1, required=True, type=options.INPUT_PATH, metavar="INPUT...")
@click.option(
    "--output", "-o", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The page to write."
)
@options.filter_options
@enrichment_options()
@click.option("--join", is_flag=True, help="Take the traces for consecutive files of one session.")
def command(
    inputs: Sequence[Path],
    output: Path,
    enrichment: Enrichment,
    *,
    join: bool,
    **filters: Any,  # noqa: ANN401
) -> Status:
    """Write remote threads as one HTML page, which any browser shows without a network.

    INPUT is what scan takes: an .etl file, one inside a .zip or .gz, a file of events, what was written with
    --format json, or a directory of such. Times are in UTC, on the page and in --since and --until.
    """
    wanted = options.make_filter(**filters, utc=True)
    stream = options.open_output(output, inputs)
    gathered = _Gathered(wanted)
    found = Traces(inputs, join=join, enrichment=enrichment, results=True)
    for scan in found.scans():
        found.statuses.append(gathered.add(found, scan))
    for saved in found.saved():
        found.statuses.append(gathered.add_saved(found, saved))
    unread = [ReportInput(printable(error.name), printable(str(error))) for error in found.errors]
    try:
        with stdio.writing(output), stream:
            stream.write(render(gathered.records, [*gathered.inputs, *unread], __version__, gathered.filtered_out))
    except stdio.OutputEndedError as ended:
        found.statuses.append(stdio.conclude(ended))
    return of_all(found.statuses, found=False)


class _Gathered:
    """What is to be on the page: of all inputs, the detections that pass the filter."""

    def __init__(self, wanted: Filter) -> None:
        self.records = Records()
        self.inputs: list[ReportInput] = []
        self.filtered_out = 0
        self._wanted = wanted

    def add(self, found: Traces, scan: Scan) -> Status:
        """Take all of *scan*, and say what is to be said of it."""
        before, failure = self.filtered_out, None
        try:
            self._take(found.until_stopped(scan, scan.detections()))
        except EtwDetectError as error:
            failure = f"{summary.name(scan)}: {error}"
            say(failure)
        self._end(_input_of(scan, failure), summary.closing(scan, self.filtered_out - before))
        if failure is not None:
            return Status.ERROR
        return Status.INCOMPLETE if self.inputs[-1].warnings else Status.DONE

    def add_saved(self, found: Traces, saved: SavedResults) -> Status:
        """Take all of *saved*, and say what is to be said of it."""
        before = self.filtered_out
        self._take(found.until_stopped(saved, saved.detections()))
        name, warnings = printable(saved.name), tuple(saved.warnings())
        self._end(
            ReportInput(name, warnings=warnings, remote=saved.records), saved.closing(self.filtered_out - before)
        )
        return status_of_saved(saved)

    def _take(self, detections: Iterable[Detection]) -> None:
        for detection in detections:
            if self._wanted.passes(detection.thread):
                self.records.add(detection, len(self.inputs))
            else:
                self.filtered_out += 1

    def _end(self, ended: ReportInput, closing: str) -> None:
        self.inputs.append(ended)
        for line in (*ended.warnings, *ended.notes, closing):
            say(line)


def _input_of(scan: Scan, error: str | None) -> ReportInput:
    """Return what the page shows of *scan*, which has ended."""
    counts = scan.rule.counts
    return ReportInput(
        summary.name(scan),
        error,
        tuple(summary.warnings(scan)),
        tuple(summary.notes(scan)),
        counts.remote,
        counts.seen,
        scan.events_read,
        scan.span,
    )
