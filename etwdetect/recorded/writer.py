"""Writes all that a scan reads as rows."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Protocol

from etwdetect.events import Loss
from etwdetect.recorded.schema import RecordingStart

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etwdetect.events import Event
    from etwdetect.recorded.schema import Recording


class EventWriter(Protocol):
    """What the writers of all formats have in common."""

    def begin(self, recording: Recording, start: RecordingStart) -> None:
        """Begin a recording: `write` is for its events from now on."""

    def write(self, event: Event | RecordingStart) -> None:
        """Append one event."""

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
