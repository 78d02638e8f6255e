"""Opens what writes detections in a format, which is loaded then."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, cast

from etwdetect.results.formats import FORMATS, Form

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from etwdetect.enrich.detection import Detection
    from etwdetect.results.clock import Clock
    from etwdetect.results.stream import FileWriter, Stream, Writer

    Line = Callable[[Detection], str]


class LineWriter:
    """Writes each detection as a line, in one call of the stream's write."""

    def __init__(self, stream: Stream, line: Line) -> None:
        self._stream = stream
        self._line = line

    def write(self, detection: Detection) -> None:
        """Write one line."""
        self._stream.write(self._line(detection) + "\n")

    def flush(self) -> None:
        """Flush the stream."""
        self._stream.flush()


def open_file(path: Path, name: str) -> FileWriter:
    """Return what writes to the file at *path* in the format called *name*, which needs a file.

    Raises OutputError where that cannot be.
    """
    return cast("FileWriter", FORMATS[name].load()(path))


def stream_writer(stream: Stream, name: str, clock: Clock, *, heading: bool = True) -> Writer:
    """Return what writes to *stream* in the format called *name*, which needs no file.

    Without *heading* it continues what another one wrote.
    """
    chosen = FORMATS[name]
    match chosen.form:
        case Form.TABLE:
            return cast("Writer", chosen.load()(stream, heading=heading))
        case Form.TIMED_LINE:
            return LineWriter(stream, functools.partial(chosen.load(), clock=clock))
        case Form.LINE:
            return LineWriter(stream, json_line(name))
        case Form.FILE | Form.WHOLE_FILE:
            raise ValueError(f"{name} is written to a file: open_file")


def json_line(name: str) -> Line:
    """Return the function that makes the line of a detection in the format called *name*, a JSON object each."""
    return cast("Line", FORMATS[name].load())
