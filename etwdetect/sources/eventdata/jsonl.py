"""Events as JSON lines: one row per line, in ASCII, with the columns in their order.

A file may hold many recordings, also interleaved, and truncated lines; nothing in it is trusted.
"""

from __future__ import annotations

import json
from typing import IO, TYPE_CHECKING, Any, Final

from etwdetect.sources.eventdata.schema import from_row, recording_of
from etwdetect.sources.eventdata.writer import EventWriter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _typeshed import SupportsWrite

    from etwdetect.sources.eventdata.schema import EventRow, Recording

MOST_LINE: Final = 1 << 20
"""The longest line that is read, in bytes; the two strings of a row have at most 64 KiB."""


class JsonLinesWriter(EventWriter):
    """Writes each event to *stream* as one line, with one call of its write method."""

    def __init__(self, stream: SupportsWrite[str]) -> None:
        super().__init__()
        self._stream = stream

    def _append(self, row: dict[str, Any]) -> None:
        self._stream.write(json.dumps(row, separators=(",", ":")) + "\n")

    def close(self) -> None:
        """Do nothing: every event is written at once. The stream stays open."""


class JsonLinesFile:
    """A file of JSON lines, open for reading: *file* is seekable and binary."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def places(self) -> Iterator[tuple[int, int, Recording | str]]:
        """Yield each line's begin, end and recording; in place of the recording, what is wrong with the line."""
        head = b"\n"
        known: Recording | str = ""
        for begin, end, line in self._lines(0, None):
            if not line.startswith(head):
                head = b"\n"
                try:
                    known = recording_of(_parse(line))
                except ValueError as error:
                    known = str(error)
                else:
                    # Our own writer puts these columns first; lines of other writers are all parsed.
                    at = line.find(b'"seq":')
                    head = line[:at] if at > 0 and line.startswith(b'{"schema_version":') else b"\n"
            yield begin, end, known

    def rows(self, begin: int, end: int, recording: Recording) -> Iterator[tuple[int, EventRow | str]]:
        """Yield the rows of *recording* between two offsets of the file, each with its offset.

        In place of a row that can't be read, of any recording, comes what is wrong with it.
        """
        at = begin
        try:
            for at, _, line in self._lines(begin, end):
                try:
                    row = _parse(line)
                    if recording_of(row) == recording:
                        yield at, from_row(row)
                except ValueError as error:
                    yield at, str(error)
        except OSError as error:
            yield at, f"the file cannot be read: {error.strerror}"

    def _lines(self, begin: int, end: int | None) -> Iterator[tuple[int, int, bytes]]:
        """Yield each line's begin, end and bytes, at most MOST_LINE bytes of a line that is too long."""
        self._file.seek(begin)
        at = begin
        while (end is None or at < end) and (line := self._file.readline(MOST_LINE)):
            begin, at = at, at + len(line)
            if not line.endswith(b"\n"):
                at += self._skip_line()
            if line.strip():
                yield begin, at, line

    def _skip_line(self) -> int:
        skipped = 0
        while rest := self._file.readline(MOST_LINE):
            skipped += len(rest)
            if rest.endswith(b"\n"):
                break
        return skipped


def _parse(line: bytes) -> dict[str, Any]:
    """Return the JSON object in *line*; ValueError where there is none."""
    if not line.endswith(b"\n"):
        if len(line) == MOST_LINE:
            raise ValueError(f"a line is longer than {MOST_LINE:,} bytes")
        if not line.rstrip().endswith(b"}"):
            raise ValueError("the last line is truncated")
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"a line is not valid JSON: {error}") from error
    if not isinstance(row, dict):
        raise ValueError("a line is not a JSON object")  # noqa: TRY004 (the line's fault, not the caller's)
    return row
