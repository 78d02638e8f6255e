"""Recordings in files of events, with the interface that a scan expects of traces."""

from __future__ import annotations

import io
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Final, NamedTuple, Protocol

from etwdetect.core.errors import MissingExtraError, NotATraceError, OtherContentError
from etwdetect.core.events import Loss
from etwdetect.sources.etl.reader import Damages
from etwdetect.sources.eventdata import PARQUET_MAGIC
from etwdetect.sources.eventdata.jsonl import JsonLinesFile
from etwdetect.sources.eventdata.schema import NEWER, NoEventsError, Recording, RecordingStart

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from etwdetect.core.events import Event
    from etwdetect.sources.eventdata.schema import EventRow
    from etwdetect.sources.packed import Place

MOST_RECORDINGS: Final = 10_000
"""How many recordings of one file are read; use `etwdetect fleet` for a lake with more."""


class _File(Protocol):
    """The interface of JsonLinesFile and ParquetFile."""

    def places(self) -> Iterator[tuple[int, int, Recording | str]]: ...
    def rows(self, begin: int, end: int, recording: Recording) -> Iterator[tuple[int, EventRow | str]]: ...


class EventDataHeader(NamedTuple):
    """What the first row says of the recording, with the names of `etl.logfile.LogfileHeader`.

    *start_time* is None where that row is missing.
    """

    start_time: int | None
    pointer_size: int
    boot_time: int = 0
    events_lost: int = 0
    buffers_lost: int = 0


class EventDataTrace:
    """One recording, open for reading, with the public attributes of `etl.reader.Trace`.

    *kinds* counts the events by kind.
    """

    loss_marks = 0

    def __init__(self, file: _File, found: EventDataInput, fault: str | None = None) -> None:
        """Read *found* in *file*; *fault* is what went wrong with unpacking it."""
        self.name = found.name
        self.host = found.recording.host
        self.size = found.end
        self.bytes_read = 0
        self.events_read = 0
        self.damages = Damages()
        self.kinds: Counter[str] = Counter()
        self.stopped = False
        self._file = file
        self._found = found
        self.header = self._read_header()
        if fault:
            self.damages.add(self.size, fault)

    def _read_header(self) -> EventDataHeader:
        for _, row in self._rows():
            if not isinstance(row, str):
                if isinstance(row.event, RecordingStart):
                    return EventDataHeader(row.event.start_time, row.event.pointer_size, row.event.boot_time)
                break
        return EventDataHeader(None, 8)

    def _rows(self) -> Iterator[tuple[int, EventRow | str]]:
        return self._file.rows(self._found.begin, self._found.end, self._found.recording)

    def stop(self) -> None:
        """Let `events` end before the next row."""
        self.stopped = True

    def events(self) -> Iterator[Event]:
        """Yield the events in the order of the file, with losses in their place; *header* counts those."""
        if self.header.start_time is None:
            self.damages.add(self._found.begin, "the recording's beginning is missing")
        for at, row in self._rows():
            if self.stopped:
                return
            self.bytes_read = at
            self.events_read += 1
            if isinstance(row, str):
                self.damages.add(at, f"{row}; the row is left out")
                continue
            event = row.event
            if isinstance(event, RecordingStart):
                continue
            if isinstance(event, Loss):
                lost = self.header
                self.header = lost._replace(
                    events_lost=lost.events_lost + event.events, buffers_lost=lost.buffers_lost + event.buffers
                )
            self.kinds[type(event).__name__] += 1
            yield event
        self.bytes_read = self.size


@dataclass(frozen=True)
class EventDataInput:
    """One recording that was found: its file, and where in the file it begins and ends."""

    place: Place
    recording: Recording
    begin: int
    end: int
    alone: bool = True

    @property
    def path(self) -> Path:
        """The file that it is in."""
        return self.place.path

    @property
    def name(self) -> str:
        """The name for messages."""
        name = self.place.name
        return name if self.alone else f"{name}!{self.recording.host}/{self.recording.name}"

    @contextmanager
    def open(self) -> Iterator[EventDataTrace]:
        """Open the recording; NotATraceError where it can't be read at all."""
        with _opened(self.place) as (file, fault):
            yield EventDataTrace(file, self, fault)


def find_recordings(place: Place) -> list[EventDataInput]:
    """Return the recordings in the file at *place* in their order; NotATraceError where there is none."""
    places: dict[Recording, tuple[int, int]] = {}
    last: Recording | None = None
    fault: tuple[str, int | None] = ("is empty", None)
    first_bad: int | None = None
    with _opened(place) as (file, _), _faults_of(place.name):
        for begin, end, what in file.places():
            if isinstance(what, Recording):
                last = what
            elif last is None:  # belongs to the first recording that follows
                fault, first_bad = (fault, first_bad) if first_bad is not None else ((what, begin), begin)
                continue
            if last not in places:
                if len(places) == MOST_RECORDINGS:
                    raise NotATraceError(
                        place.name, f"holds more than {MOST_RECORDINGS:,} recordings; use `etwdetect fleet`", begin
                    )
                places[last] = (begin if first_bad is None else first_bad, end)
                first_bad = None
            places[last] = (places[last][0], end)
    if not places:
        kind = NotATraceError if NEWER in fault[0] else OtherContentError
        raise kind(place.name, f"is not a file of events: {fault[0]}", fault[1])
    return [EventDataInput(place, recording, *at, len(places) == 1) for recording, at in places.items()]


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
