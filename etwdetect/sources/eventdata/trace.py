"""Recordings in files of events, with the interface that a scan expects of traces."""

from __future__ import annotations

import io
import weakref
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Final, NamedTuple, Protocol

from etwdetect.core.budget import current
from etwdetect.core.errors import MissingExtraError, NotATraceError, OtherContentError
from etwdetect.core.events import Loss
from etwdetect.sources.etl.reader import Damages
from etwdetect.sources.eventdata import PARQUET_MAGIC
from etwdetect.sources.eventdata.jsonl import JsonLinesFile
from etwdetect.sources.eventdata.numbers import SeenNumbers
from etwdetect.sources.eventdata.pieces import Pieces
from etwdetect.sources.eventdata.schema import NEWER, NoEventsError, Recording, RecordingStart

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from etwdetect.core.events import Event
    from etwdetect.sources.etl.reader import Trace
    from etwdetect.sources.eventdata.schema import Row
    from etwdetect.sources.packed import Place

MOST_RECORDINGS: Final = 10_000
"""How many recordings of one file are read; use `etwdetect fleet` for a lake with more."""

MOST_PIECES: Final = 1 << 20
"""How often the rows of one file may go from one recording to another: 24 MiB."""

_FLEET: Final = "use `etwdetect fleet`"


class _File(Protocol):
    """The interface of JsonLinesFile and ParquetFile."""

    def places(self) -> Iterator[tuple[int, int, int, Recording | str]]: ...
    def rows(self, pieces: Pieces, recording: Recording) -> Iterator[tuple[int, Row]]: ...


class EventDataHeader(NamedTuple):
    """What the first row says of the recording, with the names of `etl.logfile.LogfileHeader`.

    *start_time* and *time*, the row's own, are None where that row is missing.
    """

    start_time: int | None
    pointer_size: int
    boot_time: int = 0
    time: int | None = None
    events_lost: int = 0
    buffers_lost: int = 0
    trace: str | None = None
    trace_sha256: str | None = None


class EventDataTrace:
    """One recording, open for reading, with the public attributes of `etl.reader.Trace`.

    *kinds* counts the events by kind, *repeated* the rows that are left out as an earlier one has their number.
    """

    loss_marks = 0

    def __init__(self, file: _File, found: EventDataInput, fault: str | None = None) -> None:
        """Read *found* in *file*; *fault* is what went wrong with unpacking it."""
        self.name = found.name
        self.recording = found.recording
        self.size = found.pieces.end
        self.bytes_read = 0
        self.events_read = 0
        self.damages = Damages()
        self.kinds: Counter[str] = Counter()
        self.repeated = 0
        self.stopped = False
        self._file = file
        self._found = found
        self.header = self._read_header()
        if fault:
            self.damages.add(self.size, fault)

    def _read_header(self) -> EventDataHeader:
        for _, row in self._rows():
            if not isinstance(row, str):
                _, start = row
                if isinstance(start, RecordingStart):
                    return EventDataHeader(
                        start.start_time,
                        start.pointer_size,
                        start.boot_time,
                        start.time,
                        trace=start.trace,
                        trace_sha256=start.trace_sha256,
                    )
                break
        return EventDataHeader(None, 8)

    def _rows(self) -> Iterator[tuple[int, Row]]:
        return self._file.rows(self._found.pieces, self._found.recording)

    def stop(self) -> None:
        """Let `events` end before the next row."""
        self.stopped = True

    def events(self) -> Iterator[Event]:
        """Yield the events in the order of the file, with losses in their place; *header* counts those."""
        if self.header.start_time is None:
            self.damages.add(self._found.pieces.begin, "the recording's beginning is missing")
        budget, seen = current.get(), SeenNumbers()
        for at, row in self._rows():
            if self.stopped:
                return
            if not budget.take("rows"):
                self.damages.add(at, budget.sentence("rows"))
                return
            self.bytes_read = at
            self.events_read += 1
            if isinstance(row, str):
                self.damages.add(at, f"{row}; the row is left out")
                continue
            seq, event = row
            if not seen.is_new(seq):
                self.repeated += 1
                continue
            if isinstance(event, RecordingStart):
                continue
            if isinstance(event, Loss):
                lost = self.header
                self.header = lost._replace(
                    events_lost=lost.events_lost + event.events, buffers_lost=lost.buffers_lost + event.buffers
                )
            self.kinds[type(event).__name__] += 1
            yield event
        if seen.is_full:
            self.damages.add(self.size, "its rows are numbered too far apart to tell which of them come twice")
        self.bytes_read = self.size


def origin(trace: Trace | EventDataTrace, name: str, sha256: str | None = None) -> tuple[str, str | None]:
    """Return the name and the SHA-256 of the trace that the events of *trace* come from; its own are given."""
    if isinstance(trace, EventDataTrace) and trace.header.trace is not None:
        return trace.header.trace, trace.header.trace_sha256
    return name, sha256


def kept_names(trace: Trace | EventDataTrace) -> tuple[str | None, str | None]:
    """Return the host and the recording's name that events of *trace* keep; None for those of a trace file.

    What lacks its beginning has no name to keep: the rows before it have that name, with the numbers it will get.
    """
    if not isinstance(trace, EventDataTrace):
        return None, None
    host, name = trace.recording
    return host, None if trace.header.start_time is None else name


class _SharedFile:
    """The file at *place*, unpacked once for all its recordings, which are opened one after the other."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.left = 0
        """How many recordings were not opened yet."""
        self._open = 0
        self._stack = ExitStack()
        self._content: tuple[_File, str | None] | None = None
        weakref.finalize(self, self._stack.close)  # not all may be opened

    def acquire(self) -> tuple[_File, str | None]:
        """Return the file, and what went wrong with unpacking it; `release` it."""
        if self._content is None:
            self._content = self._stack.enter_context(_opened(self.place))
        self._open += 1
        return self._content

    def release(self) -> None:
        """Close the file behind the last recording."""
        self._open -= 1
        self.left -= 1
        if self.left <= 0 and not self._open:
            self._content = None
            self._stack.close()


@dataclass(frozen=True)
class EventDataInput:
    """One recording that was found: its file, and the pieces of the file that it is in."""

    recording: Recording
    pieces: Pieces
    alone: bool
    file: _SharedFile

    @property
    def place(self) -> Place:
        """Where the file is."""
        return self.file.place

    @property
    def path(self) -> Path:
        """The file that it is in."""
        return self.file.place.path

    @property
    def name(self) -> str:
        """The name for messages."""
        name = self.file.place.name
        return name if self.alone else f"{name}!{self.recording.host}/{self.recording.name}"

    @contextmanager
    def open(self) -> Iterator[EventDataTrace]:
        """Open the recording; NotATraceError where it can't be read at all."""
        file, fault = self.file.acquire()
        try:
            yield EventDataTrace(file, self, fault)
        finally:
            self.file.release()


def find_recordings(place: Place) -> list[EventDataInput]:
    """Return the recordings in the file at *place* in their order; NotATraceError where there is none."""
    with _opened(place) as (file, _), _faults_of(place.name):
        found = _pieces_of(file, place.name)
    shared = _SharedFile(place)
    shared.left = len(found)
    return [EventDataInput(recording, pieces, len(found) == 1, shared) for recording, pieces in found.items()]


def _pieces_of(file: _File, name: str) -> dict[Recording, Pieces]:
    """Return where each recording stands in *file*. What is of none belongs to the one before, or the first."""
    found: dict[Recording, Pieces] = {}
    last: Recording | None = None
    fault: tuple[str, int | None] = ("is empty", None)
    bad: tuple[int, int] | None = None
    count = last_end = 0
    for begin, end, number, what in file.places():
        recording = what if isinstance(what, Recording) else last
        if recording is None:
            if bad is None:
                fault, bad = (str(what), begin), (begin, number)
            continue
        pieces = found.get(recording)
        if pieces is None:
            if len(found) == MOST_RECORDINGS:
                raise NotATraceError(name, f"holds more than {MOST_RECORDINGS:,} recordings; {_FLEET}", begin)
            pieces = found[recording] = Pieces()
        first, first_number = bad or (begin, number)
        bad = None
        pieces.add(first, end, first_number, follows=recording == last and first <= last_end)
        count += recording != last
        if count > MOST_PIECES:
            raise NotATraceError(
                name, f"its recordings alternate more than {MOST_PIECES:,} times; {_FLEET}", begin
            )
        last, last_end = recording, end
    if not found:
        kind = NotATraceError if NEWER in fault[0] else OtherContentError
        raise kind(name, f"is not a file of events: {fault[0]}", fault[1])
    return found


@contextmanager
def _opened(place: Place) -> Iterator[tuple[_File, str | None]]:
    """Open the file at *place*, unpacked; also give what went wrong with unpacking."""
    with ExitStack() as stack:
        with _faults_of(place.name):
            raw, fault = place.open(stack)
            file = stack.enter_context(io.BufferedReader(raw)) if isinstance(raw, io.RawIOBase) else raw
            file.seek(0)
            parquet = file.read(len(PARQUET_MAGIC)) == PARQUET_MAGIC
            file.seek(0)
            opened = _parquet(file) if parquet else JsonLinesFile(file)
        yield opened, fault


@contextmanager
def _faults_of(name: str) -> Iterator[None]:
    """Name the file in errors of reading it."""
    try:
        yield
    except NotATraceError:
        raise
    except OSError as error:
        raise NotATraceError(name, f"cannot be read: {error.strerror or error}") from error
    except NoEventsError as error:
        raise OtherContentError(name, str(error)) from error
    except (MissingExtraError, ValueError) as error:
        raise NotATraceError(name, str(error)) from error


def _parquet(file: IO[bytes]) -> _File:
    from etwdetect.sources.eventdata.parquet import ParquetFile  # noqa: PLC0415 (an extra)

    return ParquetFile(file)
