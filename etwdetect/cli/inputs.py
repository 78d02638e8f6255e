"""Reads the inputs of a command one after the other: `consume` is the one loop that the commands share."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeVar

import click

from etwdetect.cli import say, unforeseen
from etwdetect.cli.enrichment import Enrichment
from etwdetect.cli.signals import on_interruption
from etwdetect.cli.status import Status
from etwdetect.cli.stdio import OutputEndedError
from etwdetect.core.errors import EtwDetectError, NotATraceError
from etwdetect.offline import Scan, summary
from etwdetect.offline.inputs import SavedInput, SysmonInput, UnreadInput, find_all, find_inputs
from etwdetect.results.wording import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from etwdetect.core.events import Event
    from etwdetect.enrich.detection import Detection
    from etwdetect.offline.inputs import Found, Records
    from etwdetect.offline.result import ScanResult
    from etwdetect.offline.sysmon import SysmonRecording
    from etwdetect.results.saved import SavedResults
    from etwdetect.sources.etl.reader import Trace
    from etwdetect.sources.eventdata.schema import RecordingStart
    from etwdetect.sources.eventdata.trace import EventDataTrace

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

    def __init__(self, scan: Scan) -> None:
        super().__init__(summary.name(scan.result()))
        self._scan = scan

    def result(self) -> ScanResult:
        """Return what was found so far; from the first item on, all but what the rule finds is complete."""
        return self._scan.result()

    def detections(self) -> Iterator[Detection]:
        """Yield the remote threads that the scan finds."""
        return self._until_interrupted(self._scan.detections())

    def recording(self) -> Iterator[Event | RecordingStart]:
        """Yield the events behind the RecordingStart that describes them, instead of the detections."""
        return self._until_interrupted(self._scan.recording())

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

    def _stop(self) -> None:
        self._scan.stop()


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

    def _stop(self) -> None:
        self._saved.stop()


class SysmonSource(SavedSource):
    """A recording of Sysmon, which is read."""

    def __init__(self, recording: SysmonRecording) -> None:
        super().__init__(recording)
        self._recording = recording

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


class Inputs:
    """The inputs at *paths*: traces, each on its own or, with *join*, all as one; with *saved*, saved results too.

    *enrichment* is for the scans. *unread* are the inputs that can't be read; *statuses* has one for each
    input that is done, in their order.
    """

    def __init__(
        self, paths: Sequence[Path], *, join: bool, enrichment: Enrichment | None = None, saved: bool = False
    ) -> None:
        self.statuses: list[Status] = []
        self.unread: list[Unread] = []
        self._paths = paths
        found = list(self._find(paths, saved=saved))
        self._records: list[Records] = [each for each in found if isinstance(each, SavedInput | SysmonInput)]
        traces = [each for each in found if not isinstance(each, SavedInput | SysmonInput)]
        self._groups = [traces] if join and traces else [[each] for each in traces]
        self._enrichment = enrichment or Enrichment()
        self._interrupted = False

    def files(self) -> list[Path]:
        """Return the files and directories that are read, those of the command line and those found in them."""
        traces = (each.path for group in self._groups for each in group)
        return list(dict.fromkeys((*self._paths, *traces, *(each.path for each in self._records))))

    def __len__(self) -> int:
        """How many sources there are, including those that can't be opened."""
        return len(self._groups) + len(self._records)

    def opened(self) -> Iterator[Source]:
        """Open the inputs and yield them one after the other, traces first, until the user interrupts one."""
        for scan in self.scans():
            traces = TraceSource(scan)
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
                traces: list[Trace | EventDataTrace] = []
                for each in group:
                    if isinstance(each, UnreadInput):
                        self._add_unread(each.error, passed_over=each.passed_over)
                        continue
                    with self._failing(each.name):
                        opening: AbstractContextManager[Trace | EventDataTrace] = each.open()  # this may fail, too
                        traces.append(stack.enter_context(opening))
                if traces:
                    traces.sort(key=lambda trace: trace.header.start_time or 0)
                    progress = stack.enter_context(_progress(traces))
                    chosen = self._enrichment
                    yield Scan(
                        traces,
                        progress=progress,
                        files=chosen.files,
                        kinds=chosen.kinds,
                        drives=chosen.drives,
                    )

    def _opened_results(self) -> Iterator[Source]:
        for each in self._records:
            if self._interrupted:
                return
            with self._failing(each.name), ExitStack() as stack:
                if isinstance(each, SysmonInput):
                    source: SavedSource = SysmonSource(stack.enter_context(each.open(self._enrichment.kinds)))
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
        unread = Unread(printable(error.name), printable(str(error)))
        self._add(unread, Status.INCOMPLETE if passed_over else Status.ERROR)

    def _add(self, unread: Unread, status: Status) -> None:
        say(unread.why)
        self.unread.append(unread)
        self.statuses.append(status)


class Consumer(Protocol):
    """What a command does with each of its inputs."""

    def take(self, source: Source) -> None:
        """Read all of *source*; EtwDetectError where that is not possible."""

    def close(self, source: Source, failure: str | None) -> None:
        """Say what was found in *source*; *failure* says why not all of it could be read."""


def consume(inputs: Inputs, consumer: Consumer) -> None:
    """Give each of *inputs* to *consumer*, say what is wrong with it, and add its status to `Inputs.statuses`.

    An input that fails keeps no other from being read.
    """
    for source in inputs.opened():
        failure = None
        try:
            consumer.take(source)
        except EtwDetectError as error:
            failure = f"{source.name}: {error}"
            say(failure)
        except OutputEndedError:  # what was shown until then is summed up
            _conclude(source, consumer, failure)
            raise
        except (OSError, click.ClickException, click.exceptions.Exit, click.Abort):
            raise  # the output's, or click's own way to end
        except Exception as error:  # noqa: BLE001 (nobody foresaw it: the other inputs are read)
            failure = unforeseen.sentence(error, source.name)
            say(failure)
        _conclude(source, consumer, failure)
        inputs.statuses.append(source.status() if failure is None else Status.ERROR)


def _conclude(source: Source, consumer: Consumer, failure: str | None) -> None:
    for line in (*source.warnings(), *source.notes()):
        say(line)
    consumer.close(source, failure)


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
