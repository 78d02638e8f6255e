"""etwdetect scan: the remote threads in recorded traces."""

from __future__ import annotations

import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from etwdetect.cli import say
from etwdetect.cli.ending import on_interruption
from etwdetect.cli.results import Results, results_options
from etwdetect.cli.status import Status
from etwdetect.errors import EtwDetectError, NotATraceError
from etwdetect.inputs import Input, find_inputs
from etwdetect.offline import Scan
from etwdetect.output import summary
from etwdetect.output.escape import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from etwdetect.enrich.detection import Detection
    from etwdetect.etl.reader import Trace

_LONG: Final = 32 << 20
"""From how many bytes on a trace gets a progress bar."""


@click.command()
@click.argument("traces", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="TRACE...")
@results_options
@click.option("--join", is_flag=True, help="Take the traces for consecutive files of one session.")
@click.option("--stats", is_flag=True, help="Print statistics on standard error.")
def command(traces: Sequence[Path], results: Results, *, join: bool, stats: bool) -> Status:
    """Print the remote threads in recorded traces.

    TRACE is an .etl file, one inside a .zip or .gz, or a directory of such. Each is judged alone.
    """
    run = _Run(results, stats=stats)
    with results.open(traces):
        run.all_of(traces, join=join)
    return results.status(run.statuses)


class _Run:
    """Scans inputs one after the other; *statuses* has one for each."""

    def __init__(self, results: Results, *, stats: bool) -> None:
        self.statuses: list[Status] = []
        self._results = results
        self._stats = stats
        self._interrupted = False

    def all_of(self, paths: Sequence[Path], *, join: bool) -> None:
        inputs = list(self._find(paths))
        self._results.clock.dates = len(inputs) > 1 and not join
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
                    self._results.clock.dates = self._results.clock.dates or self._spans_days(scan)
                    filtered_out += not self._results.show(detection)
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
        first, last = (self._results.clock.moment(time).date() for time in scan.span or (0, 0))
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
