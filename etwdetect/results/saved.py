"""Saved json as an input: detections are read again, to filter, convert and report them."""

from __future__ import annotations

import codecs
import io
from typing import IO, TYPE_CHECKING, Final

from etwdetect.core.budget import current
from etwdetect.core.files import encoding_of
from etwdetect.results.record import from_json
from etwdetect.results.wording import plural, printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etwdetect.enrich.detection import Detection

HEAD: Final = 65_536
"""How many bytes from the start of a file `looks_saved` needs."""

MAX_LINE: Final = 8 << 20
"""The longest line that is read, in characters: ten names and command lines of 32,767, each character escaped."""
_FAULTS_KEPT: Final = 10

_MARK: Final = '"SchemaVersion"'
_REPLACED: Final = "\ufffd"


def looks_saved(head: bytes) -> bool:
    """Whether a file that begins with *head* holds saved json: a line of it looks like a record.

    A trace can have such a line in an event. But its first four bytes are the size of a buffer, whose upper bytes
    are zero, which no text has.
    """
    encoding = encoding_of(head)
    if encoding == "utf-8-sig" and b"\0" in head[:4]:
        return False
    text = head.decode(encoding, "replace")
    return any(line.lstrip().startswith("{") and _MARK in line for line in text.splitlines())


class SavedResults:
    """The detections in *file*, which is seekable and called *name*; *fault* is what went wrong with it before.

    `faults` counts the lines that are not records, `records` those that are; `described` has the place and reason
    of the first faults. All are complete when `detections` has ended.
    """

    def __init__(self, file: IO[bytes], name: str, fault: str | None = None) -> None:
        self.name = name
        self.records = 0
        self.faults = 0
        self.described: list[str] = []
        self.stopped = False
        self._file = file
        self._unpack_fault = fault

    def stop(self) -> None:
        """Have `detections` read no further."""
        self.stopped = True

    def detections(self) -> Iterator[Detection]:
        """Yield the detections in the order of the file; once only."""
        budget = current.get()
        if self._unpack_fault:  # first: the last line is likely to be cut by it
            self._add_fault(self._unpack_fault)
        for number, line in self._lines():
            if self.stopped:
                return
            if not budget.take("rows"):
                self._add_fault(budget.sentence("rows"))
                return
            try:
                detection = from_json(_checked(line))
            except ValueError as error:
                self._add_fault(f"line {number:,}: {error}")
            else:
                self.records += 1
                yield detection

    def warnings(self) -> Iterator[str]:
        """Yield a line for each reason why not all was read."""
        for described in self.described:
            yield printable(f"{self.name}: {described}")
        if self.faults > len(self.described):
            yield printable(f"{self.name}: {self.faults - len(self.described):,} more lines are not records")
        if self.stopped:
            yield printable(f"{self.name}: interrupted: what was not read by then is not in the result")

    def closing(self, filtered_out: int) -> str:
        """Return the line that closes the reading."""
        hidden = f" ({filtered_out:,} filtered out)" if filtered_out else ""
        return printable(f"{self.name}: {plural(self.records, 'saved remote thread')}{hidden}")

    def _add_fault(self, fault: str) -> None:
        self.faults += 1
        if len(self.described) < _FAULTS_KEPT:
            self.described.append(fault)

    def _lines(self) -> Iterator[tuple[int, str]]:
        """Yield the lines that are not empty, with their numbers; of one that is too long only the beginning."""
        try:
            self._file.seek(0)
            encoding = encoding_of(self._file.read(len(codecs.BOM_UTF8)))
            self._file.seek(0)
            text = io.TextIOWrapper(self._file, encoding, "replace", "\n")
            try:
                number = 0
                while line := text.readline(MAX_LINE + 1):
                    number += 1
                    if line.strip():
                        yield number, line
                    while len(line) > MAX_LINE and not line.endswith("\n"):
                        line = text.readline(MAX_LINE + 1)
            finally:
                if not self._file.closed:
                    text.detach()  # its owner closes the file
        except OSError as error:
            self._add_fault(f"the file cannot be read any further: {error.strerror}")


def _checked(line: str) -> str:
    if len(line) > MAX_LINE:
        raise ValueError(f"it is longer than {MAX_LINE:,} characters")
    if _REPLACED in line:  # the writer escapes it
        raise ValueError("it has bytes that are not valid text")
    return line.rstrip("\r\n")
