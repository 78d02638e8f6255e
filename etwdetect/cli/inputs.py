"""Reads the inputs of a command one after the other: `consume` is the one loop that the commands share."""

from __future__ import annotations

import sys
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import click

from etwdetect.cli import note, say, unforeseen
from etwdetect.cli.enrichment import Enrichment
from etwdetect.cli.options import TraceChoices
from etwdetect.cli.sources import SavedSource, Source, SysmonSource, TraceSource
from etwdetect.cli.status import Status, status_of
from etwdetect.cli.stdio import OutputEndedError
from etwdetect.cli.tally import NOT_READ, PASSED_OVER, UNREADABLE, Tally
from etwdetect.core.errors import EtwDetectError, NotATraceError
from etwdetect.offline import Scan
from etwdetect.offline.inputs import SavedInput, SysmonInput, UnreadInput, find_all, find_inputs
from etwdetect.results.wording import printable
from etwdetect.sources.packed import sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from etwdetect.cli.jobs import Jobs
    from etwdetect.cli.printing import Printer
    from etwdetect.offline.inputs import Found, Readable, Records
    from etwdetect.results.clock import Clock
    from etwdetect.sources.etl.reader import Trace
    from etwdetect.sources.eventdata.trace import EventDataTrace
    from etwdetect.sources.packed import Place

_LONG: Final = 32 << 20
"""The least size in bytes of a trace that gets a progress bar."""


class Unread(NamedTuple):
    """An input that is not read: its name, the sentence about it, both printable, and what it is counted as."""

    name: str
    why: str
    counted_as: str = UNREADABLE


class Inputs:
    """The inputs at *paths*: traces, each on its own or all joined as one; with *saved*, saved results too.

    *choices* and *enrichment* are for the scans. *unread* are the inputs that are not read; *statuses* has one
    for each input that is done, in their order. *interrupted* says that the user ended the reading. *jobs* is how
    many traces are scanned at once; None is as many as there are cores, where that pays off. *printer* makes what
    prints what they find, where only lines are wanted.
    """

    def __init__(  # noqa: PLR0913 (one parameter a choice)
        self,
        paths: Sequence[Path],
        choices: TraceChoices | None = None,
        *,
        enrichment: Enrichment | None = None,
        saved: bool = False,
        jobs: int | None = 1,
        printer: Callable[[], Printer] | None = None,
    ) -> None:
        self.statuses: list[Status] = []
        self.unread: list[Unread] = []
        self.interrupted = False
        self._paths = paths
        self._choices = choices or TraceChoices()
        found = list(self._find(paths, saved=saved))
        self._records: list[Records] = [each for each in found if isinstance(each, SavedInput | SysmonInput)]
        traces = [each for each in found if not isinstance(each, SavedInput | SysmonInput)]
        self._groups = [traces] if self._choices.join and traces else [[each] for each in traces]
        self._enrichment = enrichment or Enrichment()
        self._jobs = jobs
        self._printer = printer
        self._sent: frozenset[Readable] = frozenset()
        """The traces that other processes scan."""
        self._begun = 0
        """How many inputs were opened, or could not be."""

    def files(self) -> list[Path]:
        """Return the files and directories that are read, those of the command line and those found in them."""
        traces = (each.path for group in self._groups for each in group)
        return list(dict.fromkeys((*self._paths, *traces, *(each.path for each in self._records))))

    @property
    def verbose(self) -> bool:
        """Whether each input has its lines, however many there are."""
        return self._choices.verbose

    def __len__(self) -> int:
        """How many sources there are, including those that can't be opened."""
        return len(self._groups) + len(self._records)

    def show_in(self, clock: Clock) -> None:
        """Have lines for people tell apart what comes from several inputs."""
        if len(self) > 1:
            clock.dates = clock.traces = True

    def opened(self) -> Generator[Source]:
        """Open the inputs and yield them one after the other, traces first, until the user interrupts one."""
        with self._started_jobs() as jobs:
            for group in self._groups:
                if self.interrupted:
                    return
                is_sent = jobs is not None and group[0] in self._sent
                yield from self._read(self._sent_to(jobs, group) if jobs and is_sent else self._opened(group))
        for line in self._enrichment.complaints():
            say(line)
        if self._enrichment.chosen and any(isinstance(each, SavedInput) for each in self._records):
            say("saved results keep their names and kinds: --images, --rules and --drive are for traces")
        for each in self._records:
            if self.interrupted:
                return
            yield from self._read(self._opened_results(each))

    def _read(self, opening: AbstractContextManager[Source | None]) -> Iterator[Source]:
        with opening as source:
            self._begun += 1
            if source is not None:
                source.alone = len(self) == 1
                yield source
                self.interrupted = source.interrupted

    def scans(self) -> Iterator[Scan]:
        """Open the traces and yield a scan of each."""
        for group in self._groups:
            with self._opened(group) as traces:
                if traces is not None:
                    yield traces.scan

    @contextmanager
    def _opened(self, group: Sequence[Readable]) -> Iterator[TraceSource | None]:
        """Open the traces of *group*, which are one source; None where none of them can be read."""
        with ExitStack() as stack:
            opened: list[tuple[Trace | EventDataTrace, Place]] = []
            for each in group:
                if isinstance(each, UnreadInput):
                    self._add_unread(each.error, passed_over=each.passed_over)
                    continue
                with self._failing(each.name):
                    opening: AbstractContextManager[Trace | EventDataTrace] = each.open()  # this may fail, too
                    opened.append((stack.enter_context(opening), each.place))
            opened.sort(key=lambda trace_and_place: trace_and_place[0].header.start_time or 0)
            yield self._scanned(opened, stack) if opened else None

    def _scanned(self, opened: Sequence[tuple[Trace | EventDataTrace, Place]], stack: ExitStack) -> TraceSource:
        traces = [trace for trace, _ in opened]
        digest = sha256(place for _, place in opened) if self._choices.hash else None
        progress = stack.enter_context(_progress(traces))
        chosen = self._enrichment
        scan = Scan(
            traces,
            progress=progress,
            files=chosen.files,
            kinds=chosen.kinds,
            drives=chosen.drives,
            host=self._choices.host,
        )
        return TraceSource(scan, digest)

    @contextmanager
    def _started_jobs(self) -> Iterator[Jobs | None]:
        """Have several traces scanned at once, where that is chosen or pays off."""
        if self._jobs == 1 or self._choices.join or self._enrichment.files is not None or len(self._groups) < 2:
            yield None
            return
        from etwdetect.cli import jobs  # noqa: PLC0415 (lazy import: fast start-up)
        from etwdetect.cli.job_process import ScanOptions  # noqa: PLC0415

        sent = [each for (each,) in self._groups if jobs.can_be_sent(each)]
        count = self._jobs or (jobs.cores() if jobs.size_of(sent) >= jobs.LEAST else 1)
        if count == 1 or len(sent) < 2:
            yield None
            return
        chosen, choices = self._enrichment, self._choices
        options = ScanOptions(chosen.kinds, chosen.drives, choices.host, choices.hash, self._printer)
        self._sent = frozenset(sent)
        with jobs.Jobs(sent, options, count) as started:
            yield started

    @contextmanager
    def _sent_to(self, jobs: Jobs, group: Sequence[Readable]) -> Iterator[TraceSource | None]:
        """Wait until the trace of *group* is open in another process; None where it can't be read."""
        source = None
        with self._failing(group[0].name):
            source = jobs.next_source()
        yield source
        if source is not None:
            source.drain()

    @contextmanager
    def _opened_results(self, found: Records) -> Iterator[Source | None]:
        """Open the saved results or the recording of Sysmon *found*; None where it can't be read."""
        with ExitStack() as stack:
            source: SavedSource | None = None
            with self._failing(found.name):
                if isinstance(found, SysmonInput):
                    digest = sha256([found.place]) if self._choices.hash else None
                    recording = stack.enter_context(found.open(self._enrichment.kinds))
                    source = SysmonSource(recording, digest)
                else:
                    source = SavedSource(stack.enter_context(found.open()))
            yield source

    def end(self, *, early: bool) -> None:
        """Say what is not read because the user ended the reading; *early* says that an input was not finished."""
        names = (*(traces[0].name for traces in self._groups), *(each.name for each in self._records))
        rest = names[self._begun :]
        for name in map(printable, rest):
            self.unread.append(Unread(name, f"{name}: interrupted before it was read", NOT_READ))
        if rest or early:
            say("interrupted" + (f": {len(rest):,} of {len(self):,} inputs were not read" if rest else ""))
            self.statuses.append(Status.INCOMPLETE)

    def _find(self, paths: Sequence[Path], *, saved: bool) -> Iterator[Found]:
        find: Callable[[Path], Iterator[Found]] = find_all if saved else find_inputs
        for path in paths:
            with self._failing(str(path)):
                yield from find(path)

    @contextmanager
    def _failing(self, name: str) -> Iterator[None]:
        """Note the input *name* as one that can't be read at all, and continue with the others."""
        try:
            yield
        except NotATraceError as error:
            self._add_unread(error)
        except Exception as error:  # noqa: BLE001 (nobody foresaw it)
            self._add(Unread(printable(name), unforeseen.sentence(error, name)), Status.ERROR)

    def _add_unread(self, error: NotATraceError, *, passed_over: bool = False) -> None:
        counted_as = PASSED_OVER if passed_over else UNREADABLE
        unread = Unread(printable(error.name), printable(str(error)), counted_as)
        self._add(unread, Status.INCOMPLETE if passed_over else status_of(error))

    def _add(self, unread: Unread, status: Status) -> None:
        say(unread.why)
        self.unread.append(unread)
        self.statuses.append(status)


class Consumer(Protocol):
    """What a command does with each of its inputs."""

    def take(self, source: Source) -> None:
        """Read all of *source*; EtwDetectError where that is not possible."""

    def close(self, source: Source, failure: str | None) -> str | None:
        """Return the line that closes *source*; *failure* says why not all of it could be read."""


def consume(inputs: Inputs, consumer: Consumer, *, judges: bool = True) -> None:
    """Give each of *inputs* to *consumer*, say what is wrong with it, and add its status to `Inputs.statuses`.

    An input that fails keeps no other from being read. Ctrl+C between two of them ends the reading as it does
    within one. *judges* says whether the command looks for remote threads.
    """
    tally = Tally(judges=judges, verbose=inputs.verbose)
    early = False
    try:
        with closing(inputs.opened()) as sources:
            for source in sources:
                _consume_one(source, inputs, consumer, tally)
    except KeyboardInterrupt:
        if inputs.interrupted:
            raise
        inputs.interrupted = early = True
    if inputs.interrupted:
        inputs.end(early=early)
    summed_up = tally.closing(inputs.unread)
    if summed_up is not None:
        note(summed_up)


def _consume_one(source: Source, inputs: Inputs, consumer: Consumer, tally: Tally) -> None:
    failure, failed = None, Status.ERROR
    try:
        consumer.take(source)
    except KeyboardInterrupt:  # before its first remote thread, or behind the last
        if source.interrupted:
            raise
        source.interrupt()
        say(f"{source.name}: interrupted")
        inputs.statuses.append(Status.INCOMPLETE)
    except EtwDetectError as error:
        failure, failed = f"{source.name}: {error}", status_of(error)
        say(failure)
    except OutputEndedError:  # how much was read until then says nothing of the whole
        note(f"{source.name}: not all of it is shown, as the output ended")
        raise
    except (OSError, click.ClickException, click.exceptions.Exit, click.Abort):
        raise  # the output's, or click's own way to end
    except Exception as error:  # noqa: BLE001 (nobody foresaw it: the other inputs are read)
        failure = unforeseen.sentence(error, source.name)
        say(failure)
    status = source.status() if failure is None else failed
    try:
        _conclude(source, consumer, failure, tally)
    finally:
        inputs.statuses.append(status)
        tally.add(source, status)


def _conclude(source: Source, consumer: Consumer, failure: str | None, tally: Tally) -> None:
    closing = consumer.close(source, failure)
    for line in tally.warnings_of(source):
        say(line)
    for line in tally.notes_of(source, closing):
        note(line)


@contextmanager
def _progress(traces: Sequence[Trace | EventDataTrace]) -> Iterator[Callable[[int], None] | None]:
    """Show a progress bar on standard error while traces are read, if they are large and it is a terminal."""
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
