"""What a command reads from: traces that are scanned, saved results, and what Sysmon reported."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from etwdetect.cli.signals import on_interruption
from etwdetect.cli.status import Status
from etwdetect.core.errors import EtwDetectError
from etwdetect.offline import Scan, summary
from etwdetect.results.wording import printable
from etwdetect.sources.etl.reader import Trace

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from etwdetect.cli.printing import Printed
    from etwdetect.core.events import Event
    from etwdetect.enrich.detection import Detection
    from etwdetect.offline.result import ScanResult
    from etwdetect.offline.sysmon import SysmonRecording
    from etwdetect.results.saved import SavedResults
    from etwdetect.sources.eventdata.schema import RecordingStart
    from etwdetect.sources.eventdata.trace import EventDataTrace

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

    def interrupt(self) -> None:
        """End the reading, as the user wants."""
        self._stop()
        self.interrupted = True

    def printed(self) -> Iterator[Printed] | None:
        """Yield what was printed of the remote threads where they were found; None where `detections` has them."""
        return None

    def _until_interrupted(self, items: Iterator[_Item]) -> Iterator[_Item]:
        """Yield *items*. The first Ctrl+C ends the reading, the second one the program."""
        with on_interruption(self.interrupt):
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
        self.scan = scan
        self._trace, self._sha256 = _origin(scan.traces, sha256)

    def result(self) -> ScanResult:
        """Return what was found so far; from the first item on, all but what the rule finds is complete."""
        return self.scan.result()

    def detections(self) -> Iterator[Detection]:
        """Yield the remote threads that the scan finds, with the name of the trace."""
        return self._until_interrupted(self.found())

    def found(self) -> Iterator[Detection]:
        """Yield the same, whatever the user does; OSError where the temporary file can't be written."""
        for detection in self.scan.detections():
            yield replace(detection, trace=self._trace, trace_sha256=self._sha256)

    def recording(self) -> Iterator[Event | RecordingStart]:
        """Yield the events behind the RecordingStart that describes them, instead of the detections."""
        from etwdetect.sources.eventdata.schema import RecordingStart  # noqa: PLC0415 (lazy import: fast start-up)

        for event in self._until_interrupted(self.scan.recording()):
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
        self.scan.stop()


def _origin(traces: Sequence[Trace | EventDataTrace], sha256: str | None) -> tuple[str, str | None]:
    """Return the name of the trace that *traces* are, or that their events come from, and its SHA-256."""
    name = traces[0].name
    if not isinstance(traces[0], Trace):
        from etwdetect.sources.eventdata.trace import origin  # noqa: PLC0415 (lazy import: fast start-up)

        name, sha256 = origin(traces[0], name, sha256)
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
