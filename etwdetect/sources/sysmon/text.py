"""Events out of text: JSON lines, one JSON array or documents over several lines, and XML."""

from __future__ import annotations

import io
import json
import re
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Final
from xml.etree import ElementTree as ET

from etwdetect.core.files import encoding_of
from etwdetect.sources.sysmon import RECORD_LINE
from etwdetect.sources.sysmon.shapes import WindowsEvent, event_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_EVENT: Final = 8 << 20
"""The longest event that is read, in characters: with command lines of 32,767, and every character escaped."""

_CHUNK: Final = 1 << 16
_BETWEEN: Final = re.compile(rf"(?:[\s,\[\]]++|{RECORD_LINE})*+")
_XML_EVENT: Final = re.compile(r"<Event(?=[\s>])")
_XML_END: Final = "</Event>"
_TOO_LONG: Final = f"it is longer than {MAX_EVENT:,} characters"


def json_events(file: IO[bytes], fault: Callable[[str], None]) -> Iterator[tuple[str, WindowsEvent]]:
    """Yield the events in *file*, each with its place; calls *fault* for each document that can't be read."""
    with _opened(file) as text:
        line = text.readline(_CHUNK)
        while line and not line.strip():
            line = text.readline(_CHUNK)
        text.seek(0)
        documents = _lines(text, fault) if _is_document(line) else _stream(text, fault)
        for place, document in documents:
            event = event_in(document)
            if event is not None:
                yield place, event


def _is_document(line: str) -> bool:
    """Whether *line*, the first one, is a document by itself, or is so long that it may be one."""
    if line.lstrip().startswith(("[", "Record ")):
        return False
    if not line.endswith("\n") and len(line) == _CHUNK:
        return True
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return line.strip() != "{"


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


def _lines(text: io.TextIOWrapper, fault: Callable[[str], None]) -> Iterator[tuple[str, Any]]:
    number = 0
    while line := text.readline(MAX_EVENT + 1):
        number += 1
        if len(line) > MAX_EVENT:
            fault(f"line {number:,}: {_TOO_LONG}")
            while line and not line.endswith("\n"):
                line = text.readline(MAX_EVENT)
        elif line.strip():
            try:
                yield f"line {number:,}", json.loads(line)
            except json.JSONDecodeError as error:
                fault(f"line {number:,}: not valid JSON: {error.msg} at character {error.pos + 1:,}")
            except (ValueError, RecursionError) as error:
                fault(f"line {number:,}: not valid JSON: {error}")


def _stream(text: io.TextIOWrapper, fault: Callable[[str], None]) -> Iterator[tuple[str, Any]]:
    """Yield the documents of an array, or those that follow each other, until one can't be read."""
    decode = json.JSONDecoder().raw_decode
    number = start = 0
    held, ended = "", False
    while True:
        between = _BETWEEN.match(held, start)
        start = between.end() if between else start
        if start == len(held) and not ended:
            held, start = text.read(_CHUNK), 0
            ended = not held
            continue
        if start == len(held):
            return
        number += 1
        while True:
            try:
                document, start = decode(held, start)
            except (ValueError, RecursionError) as error:
                if ended or len(held) - start > MAX_EVENT:
                    why = _TOO_LONG if not ended else str(error)
                    fault(f"document {number:,}: not valid JSON: {why}: the rest is not read")
                    return
                held, start = held[start:], 0
                more = text.read(max(_CHUNK, len(held)))  # twice as much each time: linear in all
                ended = not more
                held += more
            else:
                break
        yield f"document {number:,}", document


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
