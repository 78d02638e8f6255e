"""etwdetect scan: the remote threads in recorded traces."""

from __future__ import annotations

import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from etwdetect.cli import options, say
from etwdetect.cli.ending import close_quietly, is_broken_pipe, on_interruption
from etwdetect.cli.status import Status, of_all
from etwdetect.errors import EtwDetectError, NotATraceError
from etwdetect.inputs import Input, find_inputs
from etwdetect.offline import Scan
from etwdetect.output import Writer, summary
from etwdetect.output.escape import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from etwdetect.enrich.detection import Detection
    from etwdetect.etl.reader import Trace
    from etwdetect.filters import Filter

_LONG: Final = 32 << 20
"""From how many bytes on a trace gets a progress bar."""


@click.command()
@click.argument("traces", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="TRACE...")
@options.output_options
@options.filter_options
@click.option("--join", is_flag=True, help="Take the traces for consecutive files of one session.")
@click.option("--stats", is_flag=True, help="Print statistics on standard error.")
@click.option("--exit-code", is_flag=True, help="End with status 10, or 11 if incomplete, on any remote thread.")
def command(  # noqa: PLR0913 (one parameter an option)
    traces: Sequence[Path],
    form: str,
    output: Path | None,
    *,
    utc: bool,
    join: bool,
    stats: bool,
    exit_code: bool,
    **filters: Any,  # noqa: ANN401
) -> Status:
    """Print the remote threads in recorded traces.

    TRACE is an .etl file, one inside a .zip or .gz, or a directory of such. Each is judged alone.
    """
    wanted = options.make_filter(**filters, utc=utc)
    with options.output_stream(output, traces) as stream:
        writer = Writer(stream, form, in_utc=utc)
        run = _Run(writer, wanted, stats=stats)
        try:
            run.all_of(traces, join=join)
            stream.flush()
        except OSError as error:
            close_quietly()
            if not is_broken_pipe(error):
                say(f"the result cannot be written: {error.strerror}")
                return Status.ERROR
    return of_all(run.statuses, found=exit_code and run.shown > 0)


class _Run:
    """Scans inputs one after the other; *statuses* has one for each, *shown* counts the detections."""

    def __init__(self, writer: Writer, wanted: Filter, *, stats: bool) -> None:
        self.statuses: list[Status] = []
        self.shown = 0
        self._writer = writer
        self._wanted = wanted
        self._stats = stats
        self._interrupted = False

    def all_of(self, paths: Sequence[Path], *, join: bool) -> None:
        inputs = list(self._find(paths))
        self._writer.dates = len(inputs) > 1 and not join
        groups = [inputs] if join and inputs else [[each] for each in inputs]
        for group in groups:
            if self._interrupted:
                break
            with ExitStack() as stack:
                opened = [trace for each in group if (trace := self._open(stack, each)) is not None]
                if opened:
                    self.statuses.append(self._scan(sorted(opened, key=lambda trace: trace.header.start_time)))

    def _find(self, paths: Sequence[Path]) -> Iterator[Input]:
        for path in paths:
            try:
                yield from find_inputs(path)
            except NotATraceError as error:
                self._failed(error)

    def _open(self, stack: ExitStack, found: Input) -> Trace | None:
        try:
            return stack.enter_context(found.open())
        except NotATraceError as error:
            self._failed(error)
            return None

    def _failed(self, error: NotATraceError) -> None:
        say(printable(str(error)))
        self.statuses.append(Status.ERROR)

    def _scan(self, traces: Sequence[Trace]) -> Status:
        with _progress(traces) as progress:
            scan = Scan(traces, progress=progress)
            filtered_out = 0
            try:
                for detection in self._detections(scan):
                    if not self._wanted.passes(detection.thread):
                        filtered_out += 1
                        continue
                    self._writer.dates = self._writer.dates or self._spans_days(scan)
                    self._writer.write(detection)
                    self.shown += 1
            except EtwDetectError as error:
                say(f"{summary.name(scan)}: {error}")
                return Status.ERROR
            finally:
                incomplete = self._tell(scan, filtered_out)
        return Status.INCOMPLETE if incomplete else Status.DONE

    def _detections(self, scan: Scan) -> Iterator[Detection]:
        """Yield the detections; Ctrl+C ends the reading, and a second one the rest."""

        def stop() -> None:
            scan.stop()
            self._interrupted = True

        with on_interruption(stop):
            try:
                yield from scan.detections()
            except OSError as error:
                raise EtwDetectError(f"events cannot be put in a temporary file: {error.strerror}") from error

    def _tell(self, scan: Scan, filtered_out: int) -> bool:
        """Print what is to be said of *scan*; return whether it was incomplete."""
        warnings = list(summary.warnings(scan))
        for line in (*warnings, *summary.notes(scan)):
            say(line)
        for line in summary.stats(scan) if self._stats else ():
            click.echo(line, err=True)
        say(summary.closing(scan, filtered_out))
        return bool(warnings)

    def _spans_days(self, scan: Scan) -> bool:
        first, last = (self._writer.moment(time).date() for time in scan.span or (0, 0))
        return first != last


@contextmanager
def _progress(traces: Sequence[Trace]) -> Iterator[Callable[[int], None] | None]:
    """Show a progress bar on standard error while traces are read, if they are long and someone looks on."""
    size = sum(trace.size for trace in traces)
    if size < _LONG or not sys.stderr.isatty():
        yield None
        return
    with click.progressbar(length=size, label="reading", file=sys.stderr) as bar:
        seen = 0

        def advance(_: int) -> None:
            nonlocal seen
            read = sum(trace.bytes_read for trace in traces)
            bar.update(read - seen)
            seen = read

        yield advance
