"""Writes all that a scan reads as rows; the formats are in modules of their own."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Protocol

from etwdetect.core.events import Loss, ThreadStop
from etwdetect.sources.eventdata.schema import RecordingStart, to_row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etwdetect.core.events import Event
    from etwdetect.sources.eventdata.schema import Recording


class EventWriter(ABC):
    """Numbers the events of recordings, which come one after the other; a format's writer has their rows.

    `begin` first, then `write` for each event of that recording.
    """

    def __init__(self) -> None:
        self._recording: Recording | None = None
        self._seq = 0

    def begin(self, recording: Recording, start: RecordingStart) -> None:
        """Begin a recording: `write` is for its events from now on."""
        self._recording = recording
        self._seq = 0
        self.write(start)

    def write(self, event: Event | RecordingStart) -> None:
        """Append one event; a ThreadStop, which has no row, is passed over."""
        if self._recording is None:
            raise ValueError("no recording has begun")
        if isinstance(event, ThreadStop):
            return
        row = to_row(self._recording, self._seq, event)
        self._seq += 1
        self._append(row)

    @abstractmethod
    def _append(self, row: dict[str, Any]) -> None:
        """Write *row*, or keep it until `close`."""

    @abstractmethod
    def close(self) -> None:
        """Write what is left."""


class Session(Protocol):
    """What a recording needs to know of the scan that its events come from, an `offline.Scan`."""

    session_start: int | None
    span: tuple[int, int] | None
    pointer_size: int
    boot_time: int

    def events(self) -> Iterator[Event]:
        """Read everything, then yield the events in order, behind the loss that goes before all."""


def recorded(session: Session) -> Iterator[Event | RecordingStart]:
    """Yield the events of *session*, behind the row that begins its recording; *session* is then complete."""
    events = session.events()
    loss = next(events)
    start = session.session_start or 0
    first = min(start, *(session.span or (start,)))
    yield RecordingStart(first, start, session.pointer_size, session.boot_time)
    if isinstance(loss, Loss) and (loss.events or loss.buffers):
        yield loss._replace(time=first)
    yield from events


def recording_name(trace: str, start_time: int) -> str:
    """Return a name for the recording in *trace*, the same each time and another for every other trace."""
    digest = hashlib.blake2b(trace.encode("utf-8", "surrogateescape"), digest_size=6).hexdigest()
    return f"{start_time}-{digest}"
