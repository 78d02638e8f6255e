"""Sends a command's detections through the filter and the processors to the output and the sinks."""

from __future__ import annotations

import contextlib
import functools
import io
import sys
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from etwdetect.cli import note, options, say, stdio
from etwdetect.cli.limits import LimitedStream, OutputLimit
from etwdetect.cli.sigma import print_path_risks, print_risks, sigma_matcher
from etwdetect.cli.status import Status, of_all
from etwdetect.core import filetime
from etwdetect.core.errors import EtwDetectError
from etwdetect.results.clock import Clock
from etwdetect.results.errors import OutputError
from etwdetect.results.filters import SeverityFilter
from etwdetect.results.formats import needs_a_file, takes_live_results
from etwdetect.results.privacy import Privacy
from etwdetect.results.processors import Processor, ProcessorChain
from etwdetect.results.record import to_json
from etwdetect.results.rotation import MEBIBYTE, GrowingFile, Rotation
from etwdetect.results.sinks import WAIT
from etwdetect.results.sinks.errors import SinkError
from etwdetect.results.whole_file import WholeFile
from etwdetect.results.wording import printable
from etwdetect.results.writers import open_file, stream_writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path
    from typing import TextIO

    from etwdetect.cli.printing import Printed
    from etwdetect.enrich.detection import Detection
    from etwdetect.results.fields import RecordSource
    from etwdetect.results.filters import Filter
    from etwdetect.results.sigma.matcher import SigmaMatcher
    from etwdetect.results.sinks.queue import Sink, Transport
    from etwdetect.results.status import StatusRecord
    from etwdetect.results.stream import FileWriter, Stream, Writer


_SPOOL_LIMIT: Final = 64 * MEBIBYTE
"""At how many bytes a spool beside an output that is not rotated is rotated."""


@dataclass(frozen=True)
class Choices:
    """The values of the options about results, by their names."""

    form: str = "text"
    output: Path | None = None
    utc: bool = False
    stacks: bool = False
    exit_code: bool = False
    sigma: tuple[Path, ...] = ()
    min_level: str | None = None
    keep_severity: bool = False
    fold: float | None = None
    to: Sequence[str] = ()
    command_lines: bool = True
    users: bool = True

    def processors(self, sigma: SigmaMatcher | None, severe: SeverityFilter) -> list[Processor]:
        """Return the processors between the filter and the output, in their order."""
        processors: list[Processor | None] = [sigma, severe]
        if self.fold is not None:
            from etwdetect.results.fold import SECOND, Folder  # noqa: PLC0415 (lazy import: fast start-up)

            processors.append(Folder(round(self.fold * SECOND)))
        processors.append(None if self.privacy.hides_nothing else self.privacy)
        return [each for each in processors if each is not None]

    @property
    def privacy(self) -> Privacy:
        """What of command lines and users is written."""
        return Privacy(self.command_lines, self.users)


def results_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add all options about results to *command*, which gets them as one argument: `results`, a Results."""

    @functools.wraps(command)
    def with_results(*arguments: Any, **values: Any) -> Any:  # noqa: ANN401 (any command)
        choices = Choices(**{field.name: values.pop(field.name) for field in fields(Choices)})
        wanted = options.make_filter(**{name: values.pop(name) for name in options.FILTERS}, utc=choices.utc)
        return command(*arguments, results=Results(choices, wanted), **values)

    return options.output_options(options.filter_options(with_results))


class _NullWriter:
    """Takes the place of a writer whose reader is gone."""

    def write(self, detection: Detection) -> None:
        pass

    def flush(self) -> None:
        pass


class Results:
    """Shows detections: each that passes *wanted* goes through the chosen processors to the output and the sinks.

    Used as ``with results.open(): …``; its end writes what the processors still hold. An output that ends early
    ends the block too, and `status` returns why; but if only its reader is gone, the sinks get the rest.
    """

    def __init__(self, choices: Choices, wanted: Filter, clock: Clock | None = None) -> None:
        self._passed = 0
        self._stopped = 0
        self.clock = clock or Clock(in_utc=choices.utc, stacks=choices.stacks)
        self.stacks = choices.stacks
        self.privacy = choices.privacy
        self._choices = choices
        self._wanted = wanted
        self._sigma = sigma_matcher(choices.sigma, choices.min_level, raises=not choices.keep_severity)
        self._severe = SeverityFilter(wanted)
        self._processors = ProcessorChain(choices.processors(self._sigma, self._severe))
        self._today: object = None
        self._ended: stdio.OutputEndedError | None = None
        self._output_status = Status.DONE
        self._writer: Writer = _NullWriter()
        self._stream: Stream = io.StringIO()
        self._file: GrowingFile | None = None
        self._spool: GrowingFile | None = None
        self._sinks: list[Sink] = []
        self._limit = OutputLimit()

    @property
    def shown(self) -> int:
        """How many passed the filters; complete after a `flush`, as the Sigma rules hold some."""
        return self._passed - self._severe.dropped

    @property
    def filtered_out(self) -> int:
        """How many did not pass."""
        return self._stopped + self._severe.dropped

    @contextlib.contextmanager
    def open(
        self,
        inputs: Iterable[Path] = (),
        *,
        live: bool = False,
        rotation: Rotation | None = None,
        wait: float = WAIT,
    ) -> Iterator[None]:
        """Open the output, which must be none of the *inputs* and none of the next run over them.

        *live* results are visible at once, and show their date if it is not today's; others wait *wait* seconds
        for the receiver of a sink that takes nothing. With *rotation* they are appended to the output.
        """
        if live:
            self._today = self.clock.moment(filetime.from_datetime(datetime.now(UTC))).date()
            if self._sigma:
                self._sigma.batch = 1
        with contextlib.suppress(stdio.OutputEndedError), contextlib.ExitStack() as stack:
            stack.callback(self._close_sinks)
            transports = [self._transport(url) for url in self._choices.to]
            with contextlib.suppress(stdio.OutputEndedError):  # the first detection ends the block
                if rotation:
                    self._append(stack, rotation)
                else:
                    self._begin(stack, inputs, live=live)
            self._sinks = list(self._open_sinks(transports, None if live else wait))
            stack.callback(self._end)
            yield

    def come_from(self, *sources: RecordSource, functions: bool = True, modules: bool = True) -> None:
        """Print once which Sigma rules ask for fields that no detection from *sources* has.

        *functions* and *modules* say whether there are images to read functions from, and image events.
        """
        if self._sigma:
            from etwdetect.results.sigma.fields import lacking  # noqa: PLC0415 (lazy import: fast start-up)

            print_risks(self._sigma, lacking(sources, functions=functions, modules=modules))

    def show(self, detection: Detection) -> None:
        """Take the next detection."""
        if not self._wanted.passes(detection.thread):
            self._stopped += 1
            return
        self._passed += 1
        if self._sigma:
            print_path_risks(self._sigma, detection)
        self._write(self._processors.add(detection))

    def take(self, printed: Printed) -> None:
        """Write what was printed elsewhere."""
        self._passed += printed.shown
        self._stopped += printed.filtered_out
        with self._writing():
            for line in printed.lines:
                self._stream.write(line)

    def recipe(self) -> tuple[Choices, Filter, Clock] | None:
        """Return what makes Results that write the same lines elsewhere; None where not only lines are wanted."""
        choices = self._choices
        if choices.sigma or choices.to or needs_a_file(choices.form):
            return None
        return choices, self._wanted, self.clock

    def write_to(self, stream: Stream, *, heading: bool = True) -> None:
        """Write to *stream* from now on; some formats begin with a *heading*."""
        with self._writing():
            self._stream = LimitedStream(stream, self._limit)
            self._writer = stream_writer(self._stream, self._choices.form, self.clock, heading=heading)

    def tell(self, record: StatusRecord) -> None:
        """Send *record* to the sinks."""
        for sink in self._sinks:
            sink.tell(record)

    def tick(self, now: int) -> None:
        """Write what the processors release by the FILETIME *now*; called some times a second if live."""
        self._write(self._processors.release(now))

    def flush(self) -> None:
        """Write all that the processors hold, at the end of an input: the times of the next are independent."""
        self._write(self._processors.release(None))

    def status(self, statuses: Iterable[Status]) -> Status:
        """Return the status of the command: the worst of *statuses* (its inputs'), of the output and the sinks."""
        whole = all(sink.complete for sink in self._sinks) and not self._limit.met
        rest = Status.DONE if whole else Status.INCOMPLETE
        return of_all([*statuses, self._output_status, rest], found=self._choices.exit_code and self.shown > 0)

    def _write(self, detections: Iterable[Detection]) -> None:
        if self._ended is not None:
            raise self._ended
        for detection in detections:
            for sink in self._sinks:
                sink.put(detection)
            if self._today is not None and self.clock.moment(detection.thread.time).date() != self._today:
                self.clock.dates = True
            with self._writing():
                if self._file is not None and self._file.is_full:
                    self._file.rotate()
                    self.write_to(self._file, heading=self._file.is_new)
                if not needs_a_file(self._choices.form) or self._limit.allows(len(to_json(detection))):
                    self._writer.write(detection)
                if self._spool is not None and self._spool is not self._file:
                    if self._spool.is_full:
                        self._spool.rotate()
                    self._spool.write(to_json(detection) + "\n")
                if self._today is not None:
                    self._writer.flush()

    def _transport(self, url: str) -> Transport:
        from etwdetect.results.sinks.opening import open_transport  # noqa: PLC0415 (lazy import: fast start-up)

        if self._choices.to.count(url) > 1:
            raise click.UsageError(f"--to {url} is given more than once")
        try:
            return open_transport(url)
        except SinkError as error:
            raise click.UsageError(f"--to {error}") from error

    def _open_sinks(self, transports: Sequence[Transport], wait: float | None) -> Iterator[Sink]:
        """Yield the running sinks, which send what is in the spool, if there is one."""
        if not transports:
            return
        from etwdetect.results.sinks.cursors import Cursors  # noqa: PLC0415 (lazy import: fast start-up)
        from etwdetect.results.sinks.queue import Sink  # noqa: PLC0415
        from etwdetect.results.sinks.spool import Spool  # noqa: PLC0415

        if self._spool is None:
            for transport in transports:
                yield Sink(transport, say, wait=wait)
            return
        path = self._spool.path
        cursors = Cursors(path.with_name(f"{path.name}.cursor"), say)
        for url, transport in zip(self._choices.to, transports, strict=True):
            try:
                spool = Spool(self._spool, cursors.cursor(url, transport.name), transport.message, say)
            except OSError as error:
                raise EtwDetectError(printable(f"{path} cannot be read: {error.strerror}")) from error
            yield Sink(transport, say, wait=wait, backlog=spool)

    def _close_sinks(self) -> None:
        for sink in self._sinks:
            sink.begin_close()
        for sink in self._sinks:
            sink.close()
            (note if sink.complete else say)(sink.closing())

    def _end(self) -> None:
        if self._ended is None:
            self.flush()
            with self._writing():
                self._writer.flush()

    def _begin(self, stack: contextlib.ExitStack, inputs: Iterable[Path], *, live: bool) -> None:
        form, output = self._choices.form, self._choices.output
        if output is not None:
            options.check_output(output, inputs)
            options.check_output(output, self._choices.sigma, folders=False)
        if output is None:
            if needs_a_file(form):
                raise click.UsageError(f"--format {form} needs a file: --output FILE")
            # If it was closed from the start, only the sinks get anything.
            if sys.__stdout__ is not None or not self._choices.to:
                self.write_to(sys.stdout)
        elif live and not takes_live_results(form):
            raise click.UsageError(
                f"--format {form} can be read only at the end: choose another one for live results"
            )
        elif needs_a_file(form):
            file = self._open_file(output)
            stack.callback(self._close, file)
            self._writer = file
        else:
            stream = options.open_output(output, live=live)
            stack.callback(self._close, stream)
            try:
                self.write_to(stream)
            except KeyboardInterrupt:  # before its heading: what was there stays
                if isinstance(stream, WholeFile):
                    stream.discard()
                raise

    def _append(self, stack: contextlib.ExitStack, rotation: Rotation) -> None:
        """Append to a file that is rotated; another output is opened as usual."""
        form, output = self._choices.form, self._choices.output
        if output is None or needs_a_file(form):
            if rotation.limit is not None:
                raise click.UsageError("--rotate needs --output FILE and a format that is written in lines")
            self._begin(stack, (), live=True)
            return
        self._file = self._growing(stack, output, rotation)
        self.write_to(self._file, heading=self._file.is_new)
        if self._choices.to and form == "json":
            self._spool = self._file
        elif self._choices.to:  # other formats do not have all that a sink sends
            limit = _SPOOL_LIMIT if rotation.limit is None else rotation.limit
            spool = output.with_name(f"{output.name}.spool")
            self._spool = self._growing(stack, spool, rotation._replace(limit=limit))

    def _growing(self, stack: contextlib.ExitStack, path: Path, rotation: Rotation) -> GrowingFile:
        try:
            file = GrowingFile(path, rotation)
        except OSError as error:
            raise click.UsageError(f"--output {path} cannot be written: {error.strerror}") from error
        stack.callback(self._close, file)
        return file

    def _open_file(self, output: Path) -> FileWriter:
        try:
            return open_file(output, self._choices.form)
        except OutputError as error:
            raise click.UsageError(f"--output {output} cannot be written: {error}") from error

    def _close(self, file: TextIO | FileWriter | GrowingFile) -> None:
        if isinstance(file, WholeFile) and self._ended is not None and self._ended.reason is not None:
            file.discard()
            return
        with self._writing():
            file.close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Print once why the output ended; OutputEndedError unless the reader is gone and there are sinks."""
        try:
            with stdio.writing(self._choices.output):
                yield
        except stdio.OutputEndedError as ended:
            if ended.reason is None and self._choices.to:
                self._writer = _NullWriter()
                return
            if self._ended is None:
                self._ended = ended
                self._output_status = stdio.conclude(ended)
            raise
