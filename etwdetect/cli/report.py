"""etwdetect report: the remote threads of recorded traces as one page for a browser."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from etwdetect._version import __version__
from etwdetect.cli import options, stdio
from etwdetect.cli.enrichment import Enrichment, enrichment_options
from etwdetect.cli.inputs import Inputs, consume
from etwdetect.cli.limits import OutputLimit, limit_option
from etwdetect.cli.sources import SavedSource, Source, SysmonSource, TraceSource
from etwdetect.cli.status import Status, of_all
from etwdetect.comparison.reported import ReportedRecords
from etwdetect.results.privacy import Privacy
from etwdetect.results.report.inputs import ReportInput
from etwdetect.results.report.page import render
from etwdetect.results.report.records import Records

if TYPE_CHECKING:
    from collections.abc import Sequence

    from etwdetect.results.filters import Filter


@click.command()
@click.argument("inputs", nargs=-1, required=True, type=options.INPUT_PATH, metavar="INPUT...")
@click.option(
    "--output", "-o", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The page to write."
)
@options.filter_options
@limit_option
@enrichment_options()
@options.privacy_options()
@options.trace_options
@options.jobs_option
def command(  # noqa: PLR0913 (one parameter an option)
    inputs: Sequence[Path],
    output: Path,
    enrichment: Enrichment,
    choices: options.TraceChoices,
    *,
    command_lines: bool,
    users: bool,
    jobs: int | None,
    **filters: Any,  # noqa: ANN401
) -> Status:
    """Write remote threads as one HTML page, which any browser shows without a network.

    INPUT is what scan takes: an .etl file, a file of events, what was written with --format json, also packed, or
    a directory of such. Times are in UTC, on the page and in --since and --until.
    """
    wanted = options.make_filter(**filters, utc=True)
    found = Inputs(inputs, choices, enrichment=enrichment, saved=True, jobs=jobs)
    options.check_output(output, (*found.files(), *enrichment.files_read))
    limit = OutputLimit()
    page = _Page(wanted, Privacy(command_lines, users), limit)
    try:
        with options.open_output(output) as stream:
            consume(found, page)
            unread = [ReportInput(each.name, each.why) for each in found.unread]
            with stdio.writing(output), stream:
                inputs_told, compared = [*page.inputs, *unread], page.compared.lines()
                stream.write(render(page.records, inputs_told, __version__, page.filtered_out, compared))
    except stdio.OutputEndedError as ended:
        found.statuses.append(stdio.conclude(ended))
    if limit.met:
        found.statuses.append(Status.INCOMPLETE)
    return of_all(found.statuses, found=False)


class _Page:
    """Collects what the page shows: of all inputs, the detections that *wanted* passes, within *limit*."""

    def __init__(self, wanted: Filter, privacy: Privacy, limit: OutputLimit) -> None:
        self._privacy = privacy
        self.records = Records(allows=limit.allows)
        self.compared = ReportedRecords()
        self.inputs: list[ReportInput] = []
        self.filtered_out = 0
        self._wanted = wanted
        self._filtered_out_before = 0

    def take(self, source: Source) -> None:
        """Collect the detections of *source*."""
        self._filtered_out_before = self.filtered_out
        for detection in source.detections():
            if self._wanted.passes(detection.thread) and self._wanted.is_severe(detection):
                self.compared.add(detection)
                for each in self._privacy.add(detection):
                    self.records.add(each, len(self.inputs))
            else:
                self.filtered_out += 1

    def close(self, source: Source, failure: str | None) -> str:
        """Collect what is known of *source*, and return the closing line."""
        self.inputs.append(_input_of(source, failure))
        return source.closing(self.filtered_out - self._filtered_out_before)


def _input_of(source: Source, failure: str | None) -> ReportInput:
    """Return what the page says of *source*."""
    warnings, notes = tuple(source.warnings()), tuple(source.notes())
    match source:
        case TraceSource():
            result = source.result()
            starts = result.thread_starts
            numbers = starts.remote, starts.seen, result.events_read, result.span
            return ReportInput(source.name, failure, warnings, notes, *numbers)
        case SysmonSource():
            found = source.records, None, source.events, source.span
            return ReportInput(source.name, failure, warnings, notes, *found)
        case SavedSource():
            return ReportInput(source.name, failure, warnings, notes, source.records)
    raise TypeError(source)
