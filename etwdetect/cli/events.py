"""etwdetect events: the events of traces, as data."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import click

from etwdetect.cli import options, stdio
from etwdetect.cli.inputs import Inputs, consume
from etwdetect.cli.limits import LimitedStream, OutputLimit, limit_option
from etwdetect.cli.sources import Source, TraceSource
from etwdetect.cli.status import Status, of_all
from etwdetect.results.privacy import Privacy
from etwdetect.sources.eventdata.jsonl import JsonLinesWriter
from etwdetect.sources.eventdata.schema import Recording, RecordingStart
from etwdetect.sources.eventdata.trace import kept_names
from etwdetect.sources.eventdata.writer import EventWriter, recording_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from etwdetect.core.events import Event

_FORMATS: Final = ("jsonl", "parquet")

_ROW: Final = 100
"""How many characters a row of Parquet counts for, beside its texts."""


@click.command()
@click.argument("traces", nargs=-1, required=True, type=options.INPUT_PATH, metavar="TRACE...")
@click.option("--format", "form", type=click.Choice(_FORMATS), default="jsonl", show_default=True)
@click.option("--output", "-o", type=options.OUTPUT_PATH, help="Write to a file.")
@limit_option
@options.privacy_options()
@options.trace_options
def command(  # noqa: PLR0913 (one parameter an option)
    traces: Sequence[Path],
    form: str,
    output: Path | None,
    choices: options.TraceChoices,
    *,
    command_lines: bool,
    users: bool,
) -> Status:
    """Write the events of traces as data, for `etwdetect scan`, `etwdetect fleet` or a data lake.

    TRACE is what `etwdetect scan` takes. docs/reference/events.md in the repository describes the rows.
    """
    if form == "parquet" and output is None:
        raise click.UsageError("--format parquet needs --output")
    limit = OutputLimit()
    found = Inputs(traces, choices)
    if output is not None:
        options.check_output(output, found.files())
    try:
        with stdio.writing(output), _writer(form, output, limit) as writer:
            written = _Written(
                writer, Privacy(command_lines, users), limit, host=choices.host, in_lines=form == "jsonl"
            )
            consume(found, written, judges=False)
    except stdio.OutputEndedError as ended:
        found.statuses.append(stdio.conclude(ended))
    if limit.met:
        found.statuses.append(Status.INCOMPLETE)
    return of_all(found.statuses, found=False)


@contextmanager
def _writer(form: str, output: Path | None, limit: OutputLimit) -> Iterator[EventWriter]:
    if output is None:
        yield JsonLinesWriter(LimitedStream(sys.stdout, limit))
        sys.stdout.flush()
        return
    if form == "parquet":
        # An extra, imported before the output is opened: without it the output stays as it is.
        from etwdetect.sources.eventdata.parquet import ParquetWriter  # noqa: PLC0415
    with options.open_output(output) as stream:
        writer: EventWriter = (
            ParquetWriter(stream.buffer) if form == "parquet" else JsonLinesWriter(LimitedStream(stream, limit))
        )
        try:
            yield writer
            writer.close()
        except BaseException:
            writer.abandon()
            raise


def _characters(event: Event) -> int:
    """Return what a row of Parquet counts for."""
    return _ROW + sum(len(value) for value in event if isinstance(value, (str, bytes)))


class _Written:
    """Writes events with *writer*, which counts what it writes itself if that is *in_lines*.

    *host* names the machine, whatever the traces call it.
    """

    def __init__(
        self, writer: EventWriter, privacy: Privacy, limit: OutputLimit, *, host: str | None, in_lines: bool
    ) -> None:
        self._host = host
        self._limit = limit
        self._in_lines = in_lines
        self._writer = writer
        self._privacy = privacy
        self._count = 0
        self._begun: Counter[str] = Counter()
        """How many recordings got a name, by that of the trace: it may be given twice."""
        self._named: set[Recording] = set()

    def take(self, source: Source) -> None:
        """Write the events of *source*."""
        assert isinstance(source, TraceSource)  # saved results are not among the inputs
        self._count = 0
        for event in source.recording():
            if isinstance(event, RecordingStart):
                self._writer.begin(self._recording(source, event.start_time), event)
                continue
            shown = self._privacy.event(event)
            if self._in_lines or self._limit.allows(_characters(shown)):
                self._writer.write(shown)
                self._count += not self._limit.met

    def close(self, source: Source, failure: str | None) -> str | None:
        """Return the closing line."""
        if failure is not None or not isinstance(source, TraceSource):
            return None
        return f"{source.name}: {self._count:,} of {source.result().events_read:,} events written"

    def _recording(self, source: TraceSource, start_time: int) -> Recording:
        """Return what the next recording in *source* is called: as no other one that is written."""
        trace = source.scan.traces[0]
        kept_host, name = kept_names(trace)
        host = self._host or kept_host or source.result().host or trace.name
        while name is None or Recording(host, name) in self._named:
            name = recording_name(trace.name, start_time, self._begun[trace.name])
            self._begun[trace.name] += 1
        recording = Recording(host, name)
        self._named.add(recording)
        return recording
