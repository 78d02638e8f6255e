"""Writes all events of a session as data; docs/reference/events.md describes the rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from etwdetect.core.events import MachineName
from etwdetect.live import ownership, system
from etwdetect.live.clock import filetime_now
from etwdetect.live.errors import EventLogError
from etwdetect.results.rotation import GrowingFile, Rotation
from etwdetect.sources.eventdata.jsonl import JsonLinesWriter
from etwdetect.sources.eventdata.schema import Recording, RecordingStart

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from etwdetect.core.events import Event


class EventLog:
    """Appends events to the JSON lines file at *path*, as a new recording that begins now.

    Raises EventLogError if it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        now = filetime_now()
        self._path = path
        try:
            self._file = GrowingFile(path, Rotation())
        except OSError as error:
            raise EventLogError(path, error) from error
        self._writer = JsonLinesWriter(self._file)
        recording = Recording(system.host(), ownership.name_of(ownership.this_process("monitor")))
        try:
            self._writer.begin(recording, RecordingStart(now, now, boot_time=system.boot_time()))
        except OSError as error:
            raise EventLogError(path, error) from error
        self.write([MachineName(now, system.host()), *system.volumes(now)])

    def write(self, events: Iterable[Event]) -> None:
        """Append *events*."""
        try:
            self._writer.write_all(events)
        except OSError as error:
            raise EventLogError(self._path, error) from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()
