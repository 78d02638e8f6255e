r"""The Windows event log: each detection as an event with the id 8 in the log Application, a status record with 2.

Windows shows the text of events only of registered sources. The first use registers ours, under the key
``HKLM\SYSTEM\CurrentControlSet\Services\EventLog\Application``, with EventCreate.exe of Windows as the message
file, whose text is "%1": the event's one string. Without the right to register it, events are still written, and
the Event Viewer puts a remark before them. A registered source is not changed.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from etwdetect.results.record import to_dict
from etwdetect.results.sinks.queue import Transport
from etwdetect.results.status import status_fields
from etwdetect.results.wording import printable
from etwdetect.windows import eventlog

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from etwdetect.enrich.detection import Detection
    from etwdetect.results.status import StatusRecord

EVENT_ID: Final = 8
"""Sysmon's number for the same event; EventCreate.exe has a text for 1 to 1000."""
STATUS_EVENT_ID: Final = 2
"""Of a status record; what the service says has 1."""

MESSAGES: Final = r"%SystemRoot%\System32\EventCreate.exe"

_WARNED_OF: Final = frozenset(("medium", "high", "critical"))

_INSERTION: Final = re.compile(r"%(?=[0-9%])")
"""What the Event Viewer would replace, even within an event's string."""

_MAX_CHARACTERS: Final = 28_000
"""How much text an event can have: Windows allows 31,839 characters a string, and about 60,000 bytes in all."""
_MAX_VALUE: Final = 600
"""How many characters a value keeps in an event that would be too long; 40 of them fit."""
_MAX_NAME: Final = 200


class EventLogTransport(Transport):
    """Reports events of *source*; ValueError where that is not a valid name."""

    batch = 1

    def __init__(self, source: str) -> None:
        if "\\" in source or not source.isprintable() or len(source) > _MAX_NAME:
            raise ValueError(f"a source must be at most {_MAX_NAME} printable characters without a backslash")
        self.name = f"eventlog:{source}"
        self._source = source
        self._handle: int | None = None

    def message(self, detection: Detection) -> bytes:
        """Return the event: its type, its id, and the text."""
        kind = eventlog.WARNING if detection.severity in _WARNED_OF else eventlog.INFORMATION
        text = event_text(detection)
        if len(text) > _MAX_CHARACTERS:
            text = event_text(detection, _MAX_VALUE)
        return bytes([kind, EVENT_ID]) + text.encode("utf-16-le")

    def status(self, record: StatusRecord) -> bytes:
        """Return the event: its type, its id, and the text."""
        kind = eventlog.WARNING if record.kind.is_warning else eventlog.INFORMATION
        text = _lines(f"Monitor {record.kind.value}:", status_fields(record), _MAX_VALUE)
        return bytes([kind, STATUS_EVENT_ID]) + text.encode("utf-16-le")

    def send(self, messages: Sequence[bytes]) -> None:
        """Report the events."""
        if self._handle is None:
            self._handle = eventlog.open_source(self._source, MESSAGES)
        for message in messages:
            kind, event_id = message[:2]
            eventlog.report(self._handle, kind, event_id, message[2:].decode("utf-16-le"))

    def close(self) -> None:
        """Close the log."""
        if self._handle is not None:
            eventlog.close_source(self._handle)
            self._handle = None


def event_text(detection: Detection, most: int | None = None) -> str:
    """Return the fields of *detection*, a line each, as in Sysmon's events; values cut to *most* characters."""
    return _lines("CreateRemoteThread detected:", to_dict(detection), most)


def _lines(heading: str, fields: Mapping[str, Any], most: int | None) -> str:
    return "\r\n".join([heading, *(f"{name}: {_value(value, most)}" for name, value in fields.items())])


def _value(value: Any, most: int | None) -> str:  # noqa: ANN401 (any value that a record can have)
    match value:
        case list():
            text = "; ".join(each if isinstance(each, str) else json.dumps(each) for each in value)
        case dict():
            text = "; ".join(f"{name}: {why}" for name, why in value.items())
        case _:
            text = str(value)
    text = _INSERTION.sub("% ", printable(text))
    return text if most is None or len(text) <= most else f"{text[: most - 1]}…"
