"""Writes all events of a session as data; docs/reference/events.md describes the rows."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

from etwdetect.core.events import MachineName
from etwdetect.live import ownership, system
from etwdetect.live.clock import filetime_now
from etwdetect.live.errors import EventLogError
from etwdetect.results.rotation import GrowingFile, Rotation
from etwdetect.sources.eventdata.jsonl import JsonLinesWriter
from etwdetect.sources.eventdata.schema import Recording, RecordingStart

if TYPE_CHECKING:
    from pathlib import Path

    from etwdetect.core.events import Event


_MOST_UNWRITTEN: Final = 1 << 20
"""How many characters are written at a time, at the most, but for one event more."""


class EventLog:
    """Appends events to the JSON lines file at *path*, as a new recording that begins now.

    They are in the file after `flush`. Raises EventLogError if it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        now = filetime_now()
        self._path = path
        try:
            self._file = GrowingFile(path, Rotation())
        except OSError as error:
            raise EventLogError(path, error) from error
        self._unwritten = io.StringIO()
        self._writer = JsonLinesWriter(self._unwritten)
        recording = Recording(system.host(), ownership.name_of(ownership.this_process("monitor")))
        self._writer.begin(recording, RecordingStart(now, now, boot_time=system.boot_time()))
        self.write(MachineName(now, system.host()))
        for volume in system.volumes(now):
            self.write(volume)

    def write(self, event: Event) -> None:
        """Append one event."""
        self._writer.write(event)
        if self._unwritten.tell() >= _MOST_UNWRITTEN:
            self.flush()

    def flush(self) -> None:
        """Write the events so far into the file."""
        lines = self._unwritten.getvalue()
        if not lines:
            return
        self._unwritten.seek(0)
        self._unwritten.truncate()
        try:
            self._file.write(lines)
        except OSError as error:
            raise EventLogError(self._path, error) from error

    def close(self) -> None:
        """Write what is left, and close the file."""
        try:
            self.flush()
        finally:
            self._file.close()
