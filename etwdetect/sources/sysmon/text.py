"""Events out of text: documents of JSON, however they stand after each other, and XML."""

from __future__ import annotations

import io
import json
import re
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Final
from xml.etree import ElementTree as ET

from etwdetect.core.files import encoding_of
from etwdetect.sources.sysmon import RECORD_LINE
from etwdetect.sources.sysmon.shapes import WindowsEvent, events_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_EVENT: Final = 8 << 20
"""The longest event that is read, in characters: with command lines of 32,767, and every character escaped."""

_CHUNK: Final = 1 << 16
_BETWEEN: Final = re.compile(rf"(?:[\s,\[\]]++|{RECORD_LINE})*+")
_LONGEST_BETWEEN: Final = 32
"""No part of that which has to be matched as a whole is longer."""
_OBJECT_LINE: Final = re.compile(r"\n([ \t]*)(?=[,\[{])")
_LONGEST_TOKEN: Final = 16
"""Where JSON breaks off in a token other than a string, the error is no more than that before the end."""
_MAX_IN_VAIN: Final = 8
"""How many times the text may be tried in vain: a broken document can seem to have all that follows in it."""
_DECODE: Final = json.JSONDecoder().raw_decode
_XML_EVENT: Final = re.compile(r"<Event(?=[\s>])")
_XML_END: Final = "</Event>"
_TOO_LONG: Final = f"it is longer than {MAX_EVENT:,} characters"


def json_events(file: IO[bytes], fault: Callable[[str], None]) -> Iterator[tuple[str, WindowsEvent]]:
    """Yield the events in *file*, each with its place; calls *fault* for each document that can't be read."""
    with _opened(file) as text:
        for place, document in _Documents(text, fault):
            for event in events_in(document):
                yield place, event


@contextmanager
def _opened(file: IO[bytes]) -> Iterator[io.TextIOWrapper]:
    file.seek(0)
    encoding = encoding_of(file.read(4))
    file.seek(0)
    text = io.TextIOWrapper(file, encoding, "replace", newline="\n")
    try:
        yield text
    finally:
        if not file.closed:
            text.detach()  # its owner closes the file


class _Documents:
    """The documents of JSON in *text*: in lines, several in a line, over several lines, in an array, or mixed.

    One that can't be read costs itself and what follows up to the next line that begins an object and is indented
    no further. That line may lie in what was tried as a part of the broken one: what is tried in vain is counted.
    """

    def __init__(self, text: io.TextIOWrapper, fault: Callable[[str], None]) -> None:
        self._text = text
        self._fault = fault
        self._held = ""
        self._at = 0
        """Where in what is held it is to go on."""
        self._ended = False
        self._line, self._column, self._in_line = 1, 0, 0
        """Where that is in the text, and how many documents began in that line."""
        self._passed = 0
        """Characters before what is held."""
        self._in_vain = 0

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        while self._found():
            self._in_line += 1
            place = f"line {self._line:,}" + (f", document {self._in_line:,}" if self._in_line > 1 else "")
            try:
                document, end = self._decoded()
            except _BrokenError as error:
                if not self._pass_over(f"{place}: {error}"):
                    return
            else:
                self._go_to(end)
                yield place, document

    def _found(self) -> bool:
        """Go to the next document; False if there is none."""
        while True:
            between = _BETWEEN.match(self._held, self._at)
            if between:
                self._go_to(between.end())
            is_known = self._ended or len(self._held) - self._at >= _LONGEST_BETWEEN
            if is_known and self._at < _CHUNK:
                return self._at < len(self._held)
            self._drop()
            if not is_known:
                self._read()

    def _decoded(self) -> tuple[Any, int]:
        """Return the document that begins here, and where it ends. Raises _BrokenError with the reason."""
        while True:
            held, at = self._held, self._at
            try:
                return _DECODE(held, at)
            except json.JSONDecodeError as error:
                is_cut = error.msg.startswith("Unterminated") or error.pos > len(held) - _LONGEST_TOKEN
                if self._ended or not is_cut:
                    self._in_vain += error.pos - at
                    raise _BrokenError(
                        f"not valid JSON: {error.msg} at character {error.pos - at + 1:,}"
                    ) from error
            except (ValueError, RecursionError) as error:
                self._in_vain += len(held) - at
                raise _BrokenError(f"not valid JSON: {error}") from error
            if len(held) - at > MAX_EVENT:
                self._in_vain += len(held) - at
                raise _BrokenError(_TOO_LONG)
            self._drop()
            self._read()

    def _pass_over(self, fault: str) -> bool:
        """Tell *fault* and go to the next line that may begin a document; False if nothing more is to be read."""
        begin, indentation = self._line, self._column
        found = self._in_vain <= _MAX_IN_VAIN * (self._passed + self._at + MAX_EVENT)
        found = found and self._found_object(indentation)
        if not found:
            fault += ": the rest is not read"
        elif self._line > begin + 1:
            fault += f": reading goes on in line {self._line:,}"
        self._fault(fault)
        return found

    def _found_object(self, indentation: int) -> bool:
        """Go to the next line that begins an object, and has no more than *indentation* before it."""
        while True:
            for line in _OBJECT_LINE.finditer(self._held, self._at):
                if len(line[1]) <= indentation:
                    self._go_to(line.end())
                    return True
            if self._ended:
                return False
            last = self._held.rfind("\n", self._at)
            is_open = last >= 0 and len(self._held) - last < _CHUNK and not self._held[last:].strip()
            self._go_to(last if is_open else len(self._held))
            self._drop()
            self._read()

    def _go_to(self, place: int) -> None:
        lines = self._held.count("\n", self._at, place)
        if lines:
            self._line += lines
            self._column = place - self._held.rfind("\n", self._at, place) - 1
            self._in_line = 0
        else:
            self._column += place - self._at
        self._at = place

    def _drop(self) -> None:
        """Hold no longer what was passed."""
        self._passed += self._at
        self._held = self._held[self._at :]
        self._at = 0

    def _read(self) -> None:
        more = self._text.read(max(_CHUNK, len(self._held)))  # twice as much each time: linear in all
        self._ended = not more
        self._held += more


class _BrokenError(Exception):
    pass


def xml_events(file: IO[bytes], fault: Callable[[str], None]) -> Iterator[tuple[str, WindowsEvent]]:
    """Yield the events in *file*, whether they stand in one element or alone; as `json_events`.

    Each is parsed by itself, without what stands before it: a document type can't define anything.
    """
    with _opened(file) as text:
        for number, element in enumerate(_elements(text, fault), 1):
            try:
                yield f"event {number:,}", _of_xml(ET.fromstring(element))  # noqa: S314 (no document type)
            except ET.ParseError as error:
                fault(f"event {number:,}: not valid XML: {error}")


def _elements(text: io.TextIOWrapper, fault: Callable[[str], None]) -> Iterator[str]:
    held = ""
    while True:
        begin = _XML_EVENT.search(held)
        end = held.find(_XML_END, begin.start()) if begin else -1
        if begin and end >= 0:
            end += len(_XML_END)
            yield held[begin.start() : end]
            held = held[end:]
            continue
        held = held[begin.start() :] if begin else held[-len("<Event ") :]
        if len(held) > MAX_EVENT:
            fault(f"an event: {_TOO_LONG}: the rest is not read")
            return
        more = text.read(max(_CHUNK, len(held)))
        if not more:
            if begin:
                fault("the file ends within an event")
            return
        held += more


def _of_xml(event: ET.Element) -> WindowsEvent:
    for element in event.iter():
        element.tag = element.tag.rpartition("}")[2]
    provider = event.find("System/Provider")
    attributes = {} if provider is None else provider.attrib
    return WindowsEvent(
        event.findtext("System/EventID"),
        (attributes.get("Name"), attributes.get("Guid"), event.findtext("System/Channel")),
        event.findtext("System/Computer"),
        {each.get("Name", ""): each.text for each in event.iterfind("EventData/Data")},
    )
