"""The service itself: `monitor` under the service manager, with a log in place of standard error."""

from __future__ import annotations

import contextlib
import io
import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from etwdetect._version import __version__
from etwdetect.cli import config_file, main, say, service
from etwdetect.cli.status import Status
from etwdetect.core.errors import EtwDetectError
from etwdetect.results.rotation import MEBIBYTE, GrowingFile, Rotation
from etwdetect.results.sinks.eventlog import MESSAGES
from etwdetect.results.sinks.spool import NEW_RECEIVER
from etwdetect.windows import eventlog, services

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etwdetect.windows.service_process import ServiceProcess

EVENT_ID: Final = 1
"""Of what the service says in the event log; a detection there has 8."""

_ROTATION: Final = Rotation(MEBIBYTE, 3)
_HARMLESS: Final = ("stopped the orphaned session", NEW_RECEIVER)
"""What begins a line that a start may say and be whole all the same."""

_GOOD: Final = ("the service runs", "the service ends, as it was told", *_HARMLESS)
"""What begins a line that needs nobody's attention."""

_MOST_KEPT: Final = 10
_MOST_CHARACTERS: Final = 28_000
"""How much text an event can have, with room to spare."""


def run(config: Path, process: ServiceProcess) -> Status:
    """Run `monitor` as *config* says until the service manager stops *process*; return its exit status."""
    with _Log(config.with_name(service.LOG)) as log, contextlib.redirect_stderr(log), _no_output():

        def started() -> None:
            degraded = "; ".join(log.said)
            services.write_text(service.KEY, service.DEGRADED, degraded or None)
            say(f"the service runs: etwdetect {__version__}")
            if degraded:
                say(f"it started degraded: {degraded}")
            process.running()

        try:
            services.write_text(service.KEY, service.DEGRADED, None)
            status = main(["monitor", *config_file.arguments(config)], started)
        except KeyboardInterrupt:  # told to stop before `monitor` was ready for it
            status = Status.DONE
        except (EtwDetectError, OSError) as error:
            say(str(error))
            status = Status.ERROR
        how = "as it was told" if process.was_stopped else "by itself"
        say(f"the service ends, {how}, with exit status {int(status)}")
    # What was asked for is no failure to Windows, which would restart it; what was lost is in the log.
    process.stopped(0 if process.was_stopped else int(status))
    return Status(status)


@contextlib.contextmanager
def _no_output() -> Iterator[None]:
    """Let results that go to sinks alone not be written anywhere else: a service has no standard output."""
    with Path(os.devnull).open("w", encoding="utf-8") as null, contextlib.redirect_stdout(null):
        yield


class _Log(io.TextIOBase):
    """Takes what is said, a line at a time: with the time into the file at *path*, and into the event log."""

    encoding = "utf-8"

    def __init__(self, path: Path) -> None:
        self.said: list[str] = []
        """What was said so far, but for what a whole start may say."""
        self._rest = ""
        self._file: GrowingFile | None = None
        self._events: int | None = None
        try:
            self._file = GrowingFile(path, _ROTATION)
        except OSError as error:
            self.write(f"{path} cannot be written: {error.strerror}\n")
        try:
            self._events = eventlog.open_source(service.NAME, MESSAGES)
        except OSError as error:
            self.write(f"the event log Application cannot be written: {error.strerror}\n")

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._take(line.removeprefix("etwdetect: ").rstrip())
        return len(text)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        if self._events is not None:
            eventlog.close_source(self._events)
        self._file = self._events = None
        super().close()

    def _take(self, line: str) -> None:
        if not line.startswith(_HARMLESS):
            self.said.append(line)
            del self.said[_MOST_KEPT:]
        with contextlib.suppress(OSError):  # the other of both may still take it
            if self._file is not None:
                if self._file.is_full:
                    self._file.rotate()
                self._file.write(f"{datetime.now().astimezone():%Y-%m-%dT%H:%M:%S%z} {line}\n")
        with contextlib.suppress(OSError):
            if self._events is not None:
                kind = eventlog.INFORMATION if line.startswith(_GOOD) else eventlog.WARNING
                eventlog.report(self._events, kind, EVENT_ID, line[:_MOST_CHARACTERS])
