"""Reads the inputs of a command one after the other: `consume` is the one loop that the commands share."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeVar

import click

from etwdetect.cli import say, unforeseen
from etwdetect.cli.enrichment import Enrichment
from etwdetect.cli.options import TraceChoices
from etwdetect.cli.signals import on_interruption
from etwdetect.cli.status import Status
from etwdetect.cli.stdio import OutputEndedError
from etwdetect.cli.tally import Tally
from etwdetect.core.errors import EtwDetectError, NotATraceError
from etwdetect.offline import Scan, summary
from etwdetect.offline.inputs import SavedInput, SysmonInput, UnreadInput, find_all, find_inputs
from etwdetect.results.wording import printable
from etwdetect.sources.eventdata.schema import RecordingStart
from etwdetect.sources.eventdata.trace import origin
from etwdetect.sources.packed import sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from etwdetect.core.events import Event
    from etwdetect.enrich.detection import Detection
    from etwdetect.offline.inputs import Found, Records
    from etwdetect.offline.result import ScanResult
    from etwdetect.offline.sysmon import SysmonRecording
    from etwdetect.results.clock import Clock
    from etwdetect.results.saved import SavedResults
    from etwdetect.sources.etl.reader import Trace
    from etwdetect.sources.eventdata.trace import EventDataTrace
    from etwdetect.sources.packed import Place

_LONG: Final = 32 << 20
"""The least size in bytes of a trace that gets a progress bar."""

_Item = TypeVar("_Item")


class Source(ABC):
    """One input that was opened: traces (one, or several joined), or saved results.

    The user can interrupt the reading: then `interrupted` is set, and the iterators end early.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        """The name for messages, printable."""
        self.interrupted = False
        self.alone = True
        """Whether it is the only input."""

    @abstractmethod
    def detections(self) -> Iterator[Detection]:
        """Yield the remote threads; once only. EtwDetectError where the rest can't be read."""

    @abstractmethod
    def warnings(self) -> Sequence[str]:
        """Return a line for each reason why the result is incomplete."""

    @abstractmethod
    def notes(self) -> Sequence[str]:
        """Return a line for each thing that is worth knowing where nothing is missing."""

    @abstractmethod
    def closing(self, filtered_out: int) -> str:
        """Return the line that closes the reading."""

    @abstractmethod
    def status(self) -> Status:
        """Return how the reading ended."""

    @abstractmethod
    def finds_any(self) -> bool:
        """Whether there is a remote thread in it, shown or not."""

    def nothing_to_show(self) -> str | None:
        """Return the warning that it can't show a remote thread; None where it can."""
        return None

    @abstractmethod
    def _stop(self) -> None:
        """Read no further."""

    def _until_interrupted(self, items: Iterator[_Item]) -> Iterator[_Item]:
        """Yield *items*. The first Ctrl+C ends the reading, the second one the program."""

        def interrupt() -> None:
            self._stop()
            self.interrupted = True

        with on_interruption(interrupt):
            while True:
                try:
                    item = next(items)
                except StopIteration:
                    return
                except OSError as error:
                    raise EtwDetectError(f"the temporary file cannot be written: {error.strerror}") from error
                yield item


class TraceSource(Source):
    """Traces or files of events, which are scanned."""

    def __init__(self, scan: Scan, sha256: str | None = None) -> None:
        """Take the traces of *scan*; *sha256* is theirs."""
        super().__init__(summary.name(scan.result()))
        self._scan = scan
        self._trace, self._sha256 = _origin(scan.traces, sha256)

    def result(self) -> ScanResult:
        """Return what was found so far; from the first item on, all but what the rule finds is complete."""
        return self._scan.result()

    def detections(self) -> Iterator[Detection]:
        """Yield the remote threads that the scan finds, with the name of the trace."""
        for detection in self._until_interrupted(self._scan.detections()):
            yield replace(detection, trace=self._trace, trace_sha256=self._sha256)

    def recording(self) -> Iterator[Event | RecordingStart]:
        """Yield the events behind the RecordingStart that describes them, instead of the detections."""
        for event in self._until_interrupted(self._scan.recording()):
            if isinstance(event, RecordingStart):
                yield event._replace(trace=self._trace, trace_sha256=self._sha256)
            else:
                yield event

    def warnings(self) -> Sequence[str]:
        """Return what makes the scan incomplete."""
        return list(summary.warnings(self.result()))

    def notes(self) -> Sequence[str]:
        """Return what else is worth knowing of the scan."""
        return list(summary.notes(self.result()))

    def closing(self, filtered_out: int) -> str:
        """Return the counts of the scan in one line."""
        return summary.closing(self.result(), filtered_out)

    def status(self) -> Status:
        """Return INCOMPLETE where there are warnings."""
        return Status.INCOMPLETE if self.warnings() else Status.DONE

    def finds_any(self) -> bool:
        """Whether the rule found a remote thread."""
        return self.result().thread_starts.remote > 0

    def nothing_to_show(self) -> str | None:
        """Return the warning that there are no thread events."""
        return summary.nothing_to_show(self.result())

    def _stop(self) -> None:
        self._scan.stop()


def _origin(traces: Sequence[Trace | EventDataTrace], sha256: str | None) -> tuple[str, str | None]:
    """Return the name of the trace that *traces* are, or that their events come from, and its SHA-256."""
    name, sha256 = origin(traces[0], traces[0].name, sha256)
    return (name, sha256) if len(traces) == 1 else (f"{name} and {len(traces) - 1} more, joined", sha256)


class SavedSource(Source):
    """Saved results, which are read."""

    def __init__(self, saved: SavedResults | SysmonRecording) -> None:
        super().__init__(printable(saved.name))
        self._saved = saved

    @property
    def records(self) -> int:
        """How many records were read."""
        return self._saved.records

    def detections(self) -> Iterator[Detection]:
        """Yield the saved detections."""
        return self._until_interrupted(self._saved.detections())

    def warnings(self) -> Sequence[str]:
        """Return which lines are not records."""
        return list(self._saved.warnings())

    def notes(self) -> Sequence[str]:
        """Return nothing: there is nothing else to know."""
        return ()

    def closing(self, filtered_out: int) -> str:
        """Return the number of records in one line."""
        return self._saved.closing(filtered_out)

    def status(self) -> Status:
        """Return ERROR where no line is a record, INCOMPLETE where some are not."""
        if not self._saved.faults and not self._saved.stopped:
            return Status.DONE
        return Status.INCOMPLETE if self._saved.records or self._saved.stopped else Status.ERROR

    def finds_any(self) -> bool:
        """Whether there is a record."""
        return self._saved.records > 0

    def _stop(self) -> None:
        self._saved.stop()


class SysmonSource(SavedSource):
    """A recording of Sysmon, which is read."""

    def __init__(self, recording: SysmonRecording, sha256: str | None) -> None:
        super().__init__(recording)
        self._recording = recording
        self._sha256 = sha256

    def detections(self) -> Iterator[Detection]:
        """Yield the remote threads that Sysmon recorded, with the name of the recording."""
        for detection in super().detections():
            yield replace(detection, trace=self._recording.name, trace_sha256=self._sha256)

    @property
    def events(self) -> int:
        """How many events of Sysmon were read."""
        return self._recording.events

    @property
    def span(self) -> tuple[int, int] | None:
        """The FILETIMEs of the first and the last event."""
        return self._recording.span

    def notes(self) -> Sequence[str]:
        """Return what Sysmon says of itself."""
        return list(self._recording.notes())

    def status(self) -> Status:
        """Return ERROR where nothing could be read, INCOMPLETE where there are warnings."""
        if self._recording.faults and not self.events and not self._recording.stopped:
            return Status.ERROR
        return Status.INCOMPLETE if self.warnings() else Status.DONE


class Unread(NamedTuple):
    """An input that can't be read: its name, and the sentence about it, both printable."""

    name: str
    why: str
    passed_over: bool = False


class Inputs:
    """The inputs at *paths*: traces, each on its own or all joined as one; with *saved*, saved results too.

    *choices* and *enrichment* are for the scans. *unread* are the inputs that can't be read; *statuses* has one
    for each input that is done, in their order.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        choices: TraceChoices | None = None,
        *,
        enrichment: Enrichment | None = None,
        saved: bool = False,
    ) -> None:
        self.statuses: list[Status] = []
        self.unread: list[Unread] = []
        self._paths = paths
        self._choices = choices or TraceChoices()
        found = list(self._find(paths, saved=saved))
        self._records: list[Records] = [each for each in found if isinstance(each, SavedInput | SysmonInput)]
        traces = [each for each in found if not isinstance(each, SavedInput | SysmonInput)]
        self._groups = [traces] if self._choices.join and traces else [[each] for each in traces]
        self._enrichment = enrichment or Enrichment()
        self._sha256: str | None = None
        self._interrupted = False

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

    def opened(self) -> Iterator[Source]:
        """Open the inputs and yield them one after the other, traces first, until the user interrupts one."""
        for scan in self.scans():
            traces = TraceSource(scan, self._sha256)
            traces.alone = len(self) == 1
            yield traces
            self._interrupted = traces.interrupted
        for line in self._enrichment.complaints():
            say(line)
        if self._enrichment.chosen and any(isinstance(each, SavedInput) for each in self._records):
            say("saved results keep their names and kinds: --images, --rules and --drive are for traces")
        yield from self._opened_results()

    def scans(self) -> Iterator[Scan]:
        """Open the traces and yield a scan of each."""
        for group in self._groups:
            if self._interrupted:
                return
            with ExitStack() as stack:
                opened: list[tuple[Trace | EventDataTrace, Place]] = []
                for each in group:
                    if isinstance(each, UnreadInput):
                        self._add_unread(each.error, passed_over=each.passed_over)
                        continue
                    with self._failing(each.name):
                        opening: AbstractContextManager[Trace | EventDataTrace] = each.open()  # this may fail, too
                        opened.append((stack.enter_context(opening), each.place))
                if opened:
                    opened.sort(key=lambda trace_and_place: trace_and_place[0].header.start_time or 0)
                    yield self._scan(opened, stack)

    def _scan(self, opened: Sequence[tuple[Trace | EventDataTrace, Place]], stack: ExitStack) -> Scan:
        traces = [trace for trace, _ in opened]
        self._sha256 = sha256(place for _, place in opened) if self._choices.hash else None
        progress = stack.enter_context(_progress(traces))
        chosen = self._enrichment
        return Scan(
            traces,
            progress=progress,
            files=chosen.files,
            kinds=chosen.kinds,
            drives=chosen.drives,
            host=self._choices.host,
        )

    def _opened_results(self) -> Iterator[Source]:
        for each in self._records:
            if self._interrupted:
                return
            with self._failing(each.name), ExitStack() as stack:
                if isinstance(each, SysmonInput):
                    digest = sha256([each.place]) if self._choices.hash else None
                    recording = stack.enter_context(each.open(self._enrichment.kinds))
                    source: SavedSource = SysmonSource(recording, digest)
                else:
                    source = SavedSource(stack.enter_context(each.open()))
                yield source
                self._interrupted = source.interrupted

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
        unread = Unread(printable(error.name), printable(str(error)), passed_over)
        self._add(unread, Status.INCOMPLETE if passed_over else Status.ERROR)

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

    An input that fails keeps no other from being read. *judges* says whether the command looks for remote threads.
    """
    tally = Tally(judges=judges, verbose=inputs.verbose)
    for source in inputs.opened():
        failure = None
        try:
            consumer.take(source)
        except EtwDetectError as error:
            failure = f"{source.name}: {error}"
            say(failure)
        except OutputEndedError:  # what was shown until then is summed up
            _conclude(source, consumer, failure, tally)
            raise
        except (OSError, click.ClickException, click.exceptions.Exit, click.Abort):
            raise  # the output's, or click's own way to end
        except Exception as error:  # noqa: BLE001 (nobody foresaw it: the other inputs are read)
            failure = unforeseen.sentence(error, source.name)
            say(failure)
        _conclude(source, consumer, failure, tally)
        status = source.status() if failure is None else Status.ERROR
        inputs.statuses.append(status)
        tally.add(source, status)
    closing = tally.closing(inputs.unread)
    if closing is not None:
        say(closing)


def _conclude(source: Source, consumer: Consumer, failure: str | None, tally: Tally) -> None:
    for line in tally.lines_of(source, consumer.close(source, failure)):
        say(line)


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
