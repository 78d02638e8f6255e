"""How remote threads are written down: in a choice of formats, each in a module that is loaded on demand."""

from __future__ import annotations

import functools
import importlib
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from etwdetect.enrich.detection import Detection
    from etwdetect.results.clock import Clock

FORMATS: Final = ("text", "classic", "json", "sysmon", "ecs", "ocsf", "csv", "sqlite")
TO_A_FILE: Final = frozenset(("sqlite",))
"""The formats that no stream can take: `open_file` is for them, `stream_writer` for all others."""

_JSON: Final = {
    "json": ("etwdetect.results.record", "to_json"),
    "sysmon": ("etwdetect.results.formats.sysmon", "to_sysmon"),
    "ecs": ("etwdetect.results.formats.ecs", "to_ecs"),
    "ocsf": ("etwdetect.results.formats.ocsf", "to_ocsf"),
}
"""The formats that are a JSON object a line: the module and its function that makes the line."""


class Writer(Protocol):
    """Writes detections down. All of it may raise OSError or OutputError."""

    def write(self, detection: Detection) -> None:
        """Write one detection."""

    def flush(self) -> None:
        """Let readers see what was written so far."""


class FileWriter(Writer, Protocol):
    """A writer with a file of its own."""

    def close(self) -> None:
        """Finish the file."""


class LineWriter:
    """Writes each detection as a line, in one call of the stream's write."""

    def __init__(self, stream: Stream, line: Callable[[Detection], str]) -> None:
        self._stream = stream
        self._line = line

    def write(self, detection: Detection) -> None:
        """Write one line."""
        self._stream.write(self._line(detection) + "\n")

    def flush(self) -> None:
        """Flush the stream."""
        self._stream.flush()


def open_file(path: Path) -> FileWriter:
    """Return what writes to the file at *path* in the format of TO_A_FILE; OutputError where that cannot be."""
    from etwdetect.results.formats.sqlite import DatabaseWriter  # noqa: PLC0415 (each format is loaded on demand)

    return DatabaseWriter(path)


class Stream(Protocol):
    """Where lines go: a text stream, or what has these two of it."""

    def write(self, text: str, /) -> int:
        """Write whole lines."""

    def flush(self) -> None:
        """Let readers see them."""


def stream_writer(stream: Stream, form: str, clock: Clock, *, heading: bool = True) -> Writer:
    """Return what writes to *stream* in *form*, one of FORMATS but those of TO_A_FILE.

    Without *heading* it goes on where another one ended.
    """
    if form == "csv":
        from etwdetect.results.formats.delimited import CsvWriter  # noqa: PLC0415

        return CsvWriter(stream, heading=heading)
    return LineWriter(stream, _line(form, clock))


def _line(form: str, clock: Clock) -> Callable[[Detection], str]:
    if form in _JSON:
        module, function = _JSON[form]
        line: Callable[[Detection], str] = getattr(importlib.import_module(module), function)
        return line
    from etwdetect.results.formats import text  # noqa: PLC0415

    return functools.partial({"text": text.text_line, "classic": text.classic_line}[form], clock=clock)
