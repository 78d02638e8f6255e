"""The output file as the backlog of a sink: what a receiver has not got is read from there, by the next run too.

It is json, which has all of a detection. `etwdetect.results.sinks.cursors` keeps how far each receiver is.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections import deque
from typing import IO, TYPE_CHECKING, Final, NamedTuple

from etwdetect.results.record import from_json
from etwdetect.results.saved import MAX_LINE
from etwdetect.results.sinks.backlog import BATCH_BYTES, Backlog
from etwdetect.results.sinks.cursors import Position
from etwdetect.results.wording import plural, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

    from etwdetect.enrich.detection import Detection
    from etwdetect.results.rotation import GrowingFile
    from etwdetect.results.sinks.cursors import Cursor

NEW_RECEIVER: Final = "new receiver"
"""What begins the sentence about a receiver without a cursor."""

_SAVE_SECONDS: Final = 1.0
"""How often a cursor is written; what was sent since is sent again after a kill."""

_CHUNK: Final = 1 << 20
_MOST_OTHERS: Final = 1_000
"""How many messages that are not of the file may wait."""
_AHEAD: Final = 500
"""How many lines are read at once."""
_DIGESTED: Final = 65_536
"""How many bytes of its first line tell a file from others."""


class Spool(Backlog):
    """What *file* has behind *cursor*; *message* makes the message of a detection.

    A new receiver begins at the end of the file. What is rotated away before it was read is counted in `dropped`.
    *notify* gets sentences for the user. Raises OSError where a file cannot be read.
    """

    def __init__(
        self,
        file: GrowingFile,
        cursor: Cursor,
        message: Callable[[Detection], bytes],
        notify: Callable[[str], None],
    ) -> None:
        self._file = file
        self._cursor = cursor
        self._message = message
        self._notify = notify
        self._closed = False
        self._failing = False
        self._dropped = self._unreadable = self._read = 0
        self._ahead: deque[_Line] = deque()
        """What was read and not taken."""
        self._others: deque[bytes] = deque()
        """Messages that are not of the file."""
        self._others_given = self._others_dropped = 0
        self._taken: deque[Position | None] = deque()
        """The positions behind the messages that were taken and are not settled; None for the others."""
        self._delivered = 0
        """How many of them were sent."""
        self._last_place = 0
        self._saved_at = 0.0
        with file.changed:
            self._next = self._start()
            self._before = self._dropped + self._count() - file.lines
            """How many messages there were at first, less the lines that the file counts already."""
        self._settled = self._next
        self._save()

    def _start(self) -> Position:
        """Return where to begin; count a loss, of which one is assumed, where that is gone."""
        known, receiver = self._cursor.position, self._cursor.receiver
        if known is None:
            end = Position() if self._cursor.must_repeat else self._end()
            if end.file:
                what = f"what {self._file.path} has so far is not sent to it"
                self._notify(printable(f"{NEW_RECEIVER} {receiver}: {what}"))
            return end
        sizes = {_digest_of(path): path.stat().st_size for path in self._file.paths()}
        if known.file in sizes:  # a power failure may have taken the end, which was sent
            return Position(known.file, min(known.offset, sizes[known.file]))
        if known.file:
            self._dropped = 1
            self._notify(printable(f"{self._file.path} was rotated beyond what {receiver} got: records are lost"))
        return Position()

    @property
    def given(self) -> int:
        """How many messages there were; where it is unknown how many were lost, one is assumed."""
        return self._before + self._file.lines + self._others_given

    @property
    def dropped(self) -> int:
        """How many of them were rotated away before they could be sent, or found no room."""
        return self._dropped + self._others_dropped

    @property
    def unreadable(self) -> int:
        """How many lines are no records."""
        return self._unreadable

    @property
    def keeps(self) -> str:
        """The name of the file in which the next run finds what is left."""
        return str(self._file.path)

    def put(self, detection: Detection, timeout: float) -> bool:  # noqa: ARG002 (the protocol's)
        """Do nothing: the output has it, or will have it in a moment."""
        return True

    def put_message(self, message: bytes) -> None:
        """Have *message* sent before what waits, or drop it for want of room; it is gone with the program."""
        with self._file.changed:
            self._others_given += 1
            if len(self._others) < _MOST_OTHERS:
                self._others.append(message)
                self._file.changed.notify_all()
            else:
                self._others_dropped += 1

    def take(self, most: int) -> list[bytes]:
        """Wait for lines and return their messages, up to *most*; none when it is closed and all are read."""
        while True:
            with self._file.changed:
                if others := [self._others.popleft() for _ in range(min(most, len(self._others)))]:
                    self._taken += [None] * len(others)
                    return others
                if not self._ahead:
                    self._ahead.extend(self._lines(_AHEAD))
                    self._begin()
                if not self._ahead:
                    if self._closed:
                        return []
                    idle = self._cursor.position == self._settled and not self._failing
                    self._file.changed.wait(None if idle else _SAVE_SECONDS)
            if not self._ahead:
                self._save()
            elif batch := list(self._messages(most)):
                return batch

    def settle(self, delivered: int, uncertain: int) -> None:
        """Take note that *delivered* more were sent; the cursor is behind all but the last *uncertain*."""
        self._delivered += delivered
        while self._delivered > uncertain:
            self._settled = self._taken.popleft() or self._settled
            self._delivered -= 1
        if time.monotonic() - self._saved_at >= _SAVE_SECONDS:
            self._save()

    def close(self) -> None:
        """End the waiting in `take`."""
        with self._file.changed:
            self._closed = True
            self._file.changed.notify_all()

    def finish(self) -> None:
        """Count what was rotated away, and write the cursor."""
        with self._file.changed, contextlib.suppress(OSError):
            self._lines(0)
            there = {_digest_of(path) for path in self._file.paths()}
            unsent = [*list(self._taken)[self._delivered :], *(line.behind for line in self._ahead)]
            self._dropped += sum(position is not None and position.file not in there for position in unsent)
            if self._settled.file not in there:
                self._settled = Position()
        self._save()

    def _begin(self) -> None:
        """Have the cursor name the first file, once it has a line: else its loss would go unnoticed."""
        if self._ahead and not self._settled.file:
            self._settled = Position(self._next.file, 0)
            self._save()

    def _save(self) -> None:
        self._saved_at = time.monotonic()
        self._cursor.move(self._settled)

    def _messages(self, most: int) -> Iterator[bytes]:
        for _ in range(min(most, len(self._ahead))):
            line, position = self._ahead.popleft()
            try:
                message = self._message(from_json(line.decode().rstrip("\r\n")))
            except ValueError as error:
                if not self._unreadable:
                    self._notify(printable(f"{self._file.path} has a line that is no record: {error}"))
                self._unreadable += 1
            else:
                self._taken.append(position)
                yield message

    def _lines(self, most: int) -> list[_Line]:
        """Return up to *most* of the next lines, of one file; none where it cannot be read, which is told once."""
        try:
            if not self._next.file or self._place(self._file.paths()) is None:
                self._start_over()
            with contextlib.closing(self._files()) as files:
                for file, digest in files:
                    if lines := list(_lines_of(file, digest, most)):
                        self._next = lines[-1].behind
                        self._read += len(lines)
                        return lines
        except OSError as error:
            if not self._failing:
                self._failing = True
                self._notify(printable(f"{self._file.path} cannot be read: {error.strerror}; trying again"))
        else:
            self._failing = False
        return []

    def _place(self, paths: list[Path]) -> int | None:
        """Return which of *paths* the next line is in; None where its file is gone, or shorter than it was."""
        if not self._next.file:
            return 0
        # A rotation takes the oldest file away, others may take any.
        places: list[int] = [*range(self._last_place, len(paths))[:1], *range(len(paths))]
        for place in places:
            path = paths[place]
            if _digest_of(path) == self._next.file and path.stat().st_size >= self._next.offset:
                self._last_place = place
                return place
        return None

    def _start_over(self) -> None:
        """Go on with the oldest file there is, and count the lines that are gone."""
        expected = self._before + self._file.lines - self._read - self._dropped
        self._next = Position()
        if gone := max(0, expected - self._count()):
            self._dropped += gone
            lost = plural(gone, "record")
            self._notify(printable(f"{self._cursor.receiver}: {lost} rotated away before being sent"))

    def _files(self) -> Generator[tuple[IO[bytes], str], None, None]:
        """Yield the files with lines behind the next position, opened there, and their digests."""
        start, paths = self._next, self._file.paths()
        for path in paths[self._place(paths) or 0 :]:
            with path.open("rb") as file:
                digest = _digest(file)
                if digest == start.file:
                    file.seek(start.offset)
                if digest:
                    yield file, digest

    def _count(self) -> int:
        """Return how many lines lie behind the next position."""
        total = 0
        for file, _ in self._files():
            while chunk := file.read(_CHUNK):
                total += chunk.count(b"\n")
        return total

    def _end(self) -> Position:
        """Return the end of what is there; the beginning where nothing is."""
        for path in reversed(self._file.paths()):
            if digest := _digest_of(path):
                return Position(digest, path.stat().st_size)
        return Position()


class _Line(NamedTuple):
    """A line, and the position behind it."""

    line: bytes
    behind: Position


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return _digest(file)


def _digest(file: IO[bytes]) -> str:
    """Return the digest of the first line of *file*, and go back to its beginning; empty where it has none."""
    line = file.readline(_DIGESTED)
    file.seek(0)
    return hashlib.sha256(line).hexdigest() if len(line) == _DIGESTED or line.endswith(b"\n") else ""


def _lines_of(file: IO[bytes], digest: str, most: int) -> Iterator[_Line]:
    """Yield up to *most* whole lines of *file* from where it stands; fewer where they are long."""
    size = 0
    while most and size < BATCH_BYTES and (line := _whole_line(file)):
        most -= 1
        size += len(line)
        yield _Line(line, Position(digest, file.tell()))


def _whole_line(file: IO[bytes]) -> bytes:
    """Return the next line, empty where none is whole; of one that is too long for a record only the beginning."""
    line = file.readline(MAX_LINE + 1)
    if line.endswith(b"\n") or len(line) <= MAX_LINE:
        return line if line.endswith(b"\n") else b""
    rest = line
    while rest and not rest.endswith(b"\n"):
        rest = file.readline(_CHUNK)
    return line
