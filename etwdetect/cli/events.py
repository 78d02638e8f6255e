"""etwdetect events: the events of traces, as data."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from etwdetect.cli import options, say, stdio
from etwdetect.cli.inputs import Traces
from etwdetect.cli.status import Status, of_all
from etwdetect.core.errors import EtwDetectError
from etwdetect.offline import summary
from etwdetect.sources.eventdata.jsonl import JsonLinesWriter
from etwdetect.sources.eventdata.schema import Recording, RecordingStart
from etwdetect.sources.eventdata.writer import EventWriter, recorded, recording_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from etwdetect.offline import Scan

_FORMATS: Final = ("jsonl", "parquet")


@click.command()
@click.argument("traces", nargs=-1, required=True, type=options.INPUT_PATH, metavar="TRACE...")
@click.option("--format", "form", type=click.Choice(_FORMATS), default="jsonl", show_default=True)
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="Write to a file.")
@click.option(
    "--host", help="The machine that the traces come from; by default its name in the trace, or the trace's own."
)
@click.option("--join", is_flag=True, help="Take the traces for consecutive files of one session.")
def command(traces: Sequence[Path], form: str, output: Path | None, host: str | None, *, join: bool) -> Status:
    """Write the events of traces as data, for `etwdetect scan`, `etwdetect fleet` or a lake.

    TRACE is what `etwdetect scan` takes. docs/events.md describes the rows.
    """
    if form == "parquet" and output is None:
        raise click.UsageError("--format parquet needs --output")
    found = Traces(traces, join=join)
    statuses = found.statuses
    try:
        with stdio.writing(output), _writer(form, output, traces) as writer:
            for scan in found.scans():
                statuses.append(_write(found, scan, writer, host))
    except stdio.OutputEndedError as ended:
        statuses.append(stdio.conclude(ended))
    return of_all(statuses, found=False)


@contextmanager
def _writer(form: str, output: Path | None, inputs: Sequence[Path]) -> Iterator[EventWriter]:
    if output is None:
        yield JsonLinesWriter(sys.stdout)
        sys.stdout.flush()
        return
    if form == "parquet":
        # An extra, and asked for first: without it, the output stays as it is.
        from etwdetect.sources.eventdata.parquet import ParquetWriter  # noqa: PLC0415
    with options.open_output(output, inputs) as stream:
        writer: EventWriter = ParquetWriter(stream.buffer) if form == "parquet" else JsonLinesWriter(stream)
        yield writer
        writer.close()


def _write(found: Traces, scan: Scan, writer: EventWriter, host: str | None) -> Status:
    """Write the events of *scan*; return what is to be said of it."""
    written = 0
    name = scan.traces[0].name
    try:
        for event in found.until_stopped(scan, recorded(scan)):
            if isinstance(event, RecordingStart):
                recording = recording_name(name, event.start_time)
                called = scan.host or name if host is None else host
                writer.begin(Recording(called, recording), event)
            else:
                writer.write(event)
                written += 1
    except EtwDetectError as error:
        say(f"{summary.name(scan)}: {error}")
        return Status.ERROR
    warnings = list(summary.warnings(scan))
    for line in (*warnings, *summary.notes(scan)):
        say(line)
    say(f"{summary.name(scan)}: {written:,} of {scan.events_read:,} events written")
    return Status.INCOMPLETE if warnings else Status.DONE
