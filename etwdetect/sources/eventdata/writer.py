"""Writes events as rows; each format has a module of its own."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from etwdetect.core.events import ThreadStop

if TYPE_CHECKING:
    from etwdetect.core.events import Event
    from etwdetect.sources.eventdata.schema import Recording, RecordingStart


class EventWriter(ABC):
    """Numbers the events of recordings, one recording after the other; a subclass writes the rows.

    Call `begin`, then `write` for each event of that recording.
    """

    def __init__(self) -> None:
        self._recording: Recording | None = None
        self._seq = 0

    def begin(self, recording: Recording, start: RecordingStart) -> None:
        """Begin a recording: `write` adds events to it from now on."""
        self._recording = recording
        self._seq = 0
        self.write(start)

    def write(self, event: Event | RecordingStart) -> None:
        """Append one event; a ThreadStop, which has no row, is ignored."""
        recording = self._begun()
        if isinstance(event, ThreadStop):
            return
        self._append(recording, self._seq, event)
        self._seq += 1

    def _begun(self) -> Recording:
        if self._recording is None:
            raise ValueError("no recording has begun: call begin first")
        return self._recording

    @abstractmethod
    def _append(self, recording: Recording, seq: int, event: Event | RecordingStart) -> None:
        """Write the row of *event*, or buffer it until `close`."""

    def abandon(self) -> None:  # noqa: B027 (most have nothing to do)
        """Write nothing more: the file is about to be removed."""

    @abstractmethod
    def close(self) -> None:
        """Write what is buffered."""


def recording_name(trace: str, start_time: int, place: int) -> str:
    """Return a name for the recording at *place* in *trace*, the first one is at 0.

    It is always the same, and different for every other recording and trace.
    """
    named = f"{trace}\0{place}" if place else trace  # no trace's name holds a NUL
    digest = hashlib.blake2b(named.encode("utf-8", "surrogateescape"), digest_size=6).hexdigest()
    return f"{start_time}-{digest}"
