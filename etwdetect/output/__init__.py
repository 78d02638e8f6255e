"""How remote threads are written down: in a choice of formats, each in a module that is loaded on demand."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

    from etwdetect.enrich.detection import Detection
    from etwdetect.output.clock import Clock

FORMATS: Final = ("text", "classic", "json", "csv")


class Writer(Protocol):
    """Writes detections down. All of it may raise OSError or OutputError."""

    def write(self, detection: Detection) -> None:
        """Write one detection."""

    def flush(self) -> None:
        """Let readers see what was written so far."""


class LineWriter:
    """Writes each detection as a line, in one call of the stream's write."""

    def __init__(self, stream: TextIO, line: Callable[[Detection], str]) -> None:
        self._stream = stream
        self._line = line

    def write(self, detection: Detection) -> None:
        """Write one line."""
        self._stream.write(self._line(detection) + "\n")

    def flush(self) -> None:
        """Flush the stream."""
        self._stream.flush()


def stream_writer(stream: TextIO, form: str, clock: Clock) -> Writer:
    """Return what writes to *stream* in *form*, one of FORMATS."""
    if form == "csv":
        from etwdetect.output.table import CsvWriter  # noqa: PLC0415

        return CsvWriter(stream)
    return LineWriter(stream, _line(form, clock))


def _line(form: str, clock: Clock) -> Callable[[Detection], str]:
    if form == "json":
        from etwdetect.output.record import to_json  # noqa: PLC0415

        return to_json
    from etwdetect.output import text  # noqa: PLC0415

    return functools.partial({"text": text.text_line, "classic": text.classic_line}[form], clock=clock)
