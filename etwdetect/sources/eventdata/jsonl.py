"""Events as JSON lines: one row per line, in ASCII, with the columns in their order.

A file may hold many recordings, also interleaved, and truncated lines; nothing in it is trusted.
"""

from __future__ import annotations

import json
from itertools import islice
from typing import IO, TYPE_CHECKING, Any, Final

from etwdetect.core.events import ThreadStop
from etwdetect.sources.eventdata.lines import to_line
from etwdetect.sources.eventdata.schema import from_row, recording_of
from etwdetect.sources.eventdata.writer import EventWriter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from _typeshed import SupportsWrite

    from etwdetect.core.events import Event
    from etwdetect.sources.eventdata.pieces import Pieces
    from etwdetect.sources.eventdata.schema import Recording, RecordingStart, Row

MOST_LINE: Final = 1 << 20
"""The longest line that is read, in bytes; the two strings of a row have at most 64 KiB."""

_AT_ONCE: Final = 1024

MOST_HEADS: Final = 10_000
"""How many beginnings of lines are remembered, one for each recording."""


class JsonLinesWriter(EventWriter):
    """Writes each event to *stream* as one line, `write` with one call of its write method."""

    def __init__(self, stream: SupportsWrite[str]) -> None:
        super().__init__()
        self._stream = stream

    def write_all(self, events: Iterable[Event]) -> None:
        """Append *events* as `write` does each, in fewer steps: with one call of write for _AT_ONCE of them."""
        recording = self._begun()
        rows = (event for event in events if type(event) is not ThreadStop)
        while lines := [
            to_line(recording, seq, event) for seq, event in enumerate(islice(rows, _AT_ONCE), self._seq)
        ]:
            self._stream.write("".join(lines))
            self._seq += len(lines)

    def _append(self, recording: Recording, seq: int, event: Event | RecordingStart) -> None:
        self._stream.write(to_line(recording, seq, event))

    def close(self) -> None:
        """Do nothing: every event is written at once. The stream stays open."""


class JsonLinesFile:
    """A file of JSON lines, open for reading: *file* is seekable and binary."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._heads: dict[bytes, Recording] = {}
        """By how a line of it begins, up to the number of the row."""

    def places(self) -> Iterator[tuple[int, int, int, Recording | str]]:
        """Yield each line's begin, end, number and recording; in its place, what is wrong with the line."""
        for number, begin, end, line in self._lines(0, None, 1):
            yield begin, end, number, self._recording_of(line)

    def _recording_of(self, line: bytes) -> Recording | str:
        # Our own writer puts these columns first; lines of other writers are all parsed.
        at = line.find(b'"seq":') if line.startswith(b'{"schema_version":') else 0
        head = line[: max(at, 0)]
        known = self._heads.get(head)
        if known is not None:
            return known
        try:
            recording = recording_of(_parse(line))
        except ValueError as error:
            return str(error)
        if head and len(self._heads) < MOST_HEADS:
            self._heads[head] = recording
        return recording

    def rows(self, pieces: Pieces, recording: Recording) -> Iterator[tuple[int, Row]]:
        """Yield the events in *pieces* of the file, all of *recording*, each with its offset and its number.

        In place of a row that can't be read comes what is wrong with it.
        """
        at = 0
        known: tuple[object, ...] = ()
        try:
            for begin, end, first in pieces:
                for number, at, _, line in self._lines(begin, end, first):
                    try:
                        row = _parse(line)
                        named = row.get("schema_version"), row.get("host"), row.get("recording")
                        if named != known and recording_of(row) == recording:
                            known = named
                        if named == known:
                            _, seq, event = from_row(row, recording)
                            yield at, (seq, event)
                        else:
                            yield at, f"line {number:,}: names two recordings"
                    except ValueError as error:
                        yield at, f"line {number:,}: {error}"
        except OSError as error:
            yield at, f"the file cannot be read: {error.strerror}"

    def _lines(self, begin: int, end: int | None, number: int) -> Iterator[tuple[int, int, int, bytes]]:
        """Yield each line's number, begin, end and bytes, at most MOST_LINE bytes of a line that is too long."""
        at = begin
        while end is None or at < end:
            self._file.seek(at)  # other recordings of the file may be read meanwhile
            line = self._file.readline(MOST_LINE)
            if not line:
                return
            begin, at = at, at + len(line)
            if not line.endswith(b"\n"):
                at += self._skip_line()
            if line.strip():
                yield number, begin, at, line
            number += 1

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
