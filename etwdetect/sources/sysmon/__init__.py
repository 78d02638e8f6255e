"""Recordings of Sysmon: .evtx files, and what collectors of Windows events make from them, as JSON or XML.

Nothing heavy is imported here: it is asked of every input.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

from etwdetect.core.files import encoding_of

EVTX_MAGIC: Final = b"ElfFile\0"
CHUNK_SIZE: Final = 65_536
"""Of a chunk of an .evtx file, in bytes."""
CHANNEL: Final = "Microsoft-Windows-Sysmon/Operational"

RECORD_LINE: Final = r"Record \d{1,20}\s+"
"""What evtx_dump writes before each event."""

_JSON_START: Final = re.compile(rf"\s*+(?:{RECORD_LINE})?+[\[\s]*+\{{")
_EVENT_NAMES: Final = re.compile(
    r'"(?:EventID|EventId|event_id|winlog\.event_id)"|"Event"\s*:\s*[\[{]|"SourceProcessGuid"'
)
_XML_START: Final = re.compile(rf"\s*+(?:{RECORD_LINE})?+<[?!A-Za-z_]")
_EVENT_TAG: Final = re.compile(r"<Event(?:\s[^<>]*)?>\s*<System[\s>]")
"""Whatever stands around it: wevtutil gives the root any name, and there may be a comment before it."""


class RecordingForm(Enum):
    """How the events are written down."""

    EVTX = "evtx"
    JSON = "json"
    XML = "xml"


def recording_form(head: bytes) -> RecordingForm | None:
    """Return the form of a file of Windows events that begins with *head*; None for anything else."""
    if head.startswith(EVTX_MAGIC):
        return RecordingForm.EVTX
    text = head.decode(encoding_of(head), "replace")
    if "\0" in text[:4]:  # a trace can have such text in an event
        return None
    if _JSON_START.match(text) and _EVENT_NAMES.search(text):
        return RecordingForm.JSON
    if _XML_START.match(text) and _EVENT_TAG.search(text):
        return RecordingForm.XML
    return None


def is_of_sysmon(head: bytes) -> bool:
    """Whether a file of Windows events that begins with *head* names Sysmon there."""
    return CHANNEL.encode("utf-16-le") in head or CHANNEL.encode() in head or b"Microsoft-Windows-Sysmon" in head
