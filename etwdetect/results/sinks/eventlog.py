r"""The Windows event log: each detection as an event with the id 8 in the log Application.

Windows needs to know the source to show its events in words. The first use registers it, under the key
``HKLM\SYSTEM\CurrentControlSet\Services\EventLog\Application``, with EventCreate.exe of Windows as the file that
has the words, which are "%1": the event's one string. Without the right to register it, events are written all the
same, and the Event Viewer puts a remark before them. A source that is registered stays as it is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from etwdetect.results.escape import printable
from etwdetect.results.record import fields
from etwdetect.windows import eventlog

if TYPE_CHECKING:
    from collections.abc import Sequence

    from etwdetect.enrich.detection import Detection

EVENT_ID: Final = 8
"""Sysmon's number for the same thing; EventCreate.exe has words for 1 to 1000."""

_MESSAGES: Final = r"%SystemRoot%\System32\EventCreate.exe"

_WARNED_OF: Final = frozenset(("medium", "high"))

_INSERTION: Final = re.compile(r"%(?=[0-9%])")
"""What the Event Viewer would put another text in place of, even in an event's own."""

_MOST_CHARACTERS: Final = 28_000
"""How much text an event takes: Windows' bounds are 31,839 characters a string, and some 60,000 bytes in all."""
_MOST_A_VALUE: Final = 600
"""To how many characters values are cut in an event that would have more; 40 of them fit."""
_MOST_NAME: Final = 200


class EventLogCarrier:
    """Reports events of *source*; ValueError where that is no name for one."""

    batch = 1

    def __init__(self, source: str) -> None:
        if "\\" in source or not source.isprintable() or len(source) > _MOST_NAME:
            raise ValueError("is no name for a source")
        self.name = f"eventlog:{source}"
        self._source = source
        self._handle: int | None = None

    def message(self, detection: Detection) -> bytes:
        """Return the event: its type, and the text."""
        kind = eventlog.WARNING if detection.severity in _WARNED_OF else eventlog.INFORMATION
        text = event_text(detection)
        if len(text) > _MOST_CHARACTERS:
            text = event_text(detection, _MOST_A_VALUE)
        return bytes([kind]) + text.encode("utf-16-le")

    def send(self, messages: Sequence[bytes]) -> None:
        """Report the events."""
        if self._handle is None:
            self._handle = eventlog.open_source(self._source, _MESSAGES)
        for message in messages:
            eventlog.report(self._handle, message[0], EVENT_ID, message[1:].decode("utf-16-le"))

    def close(self) -> None:
        """Let go of the log."""
        if self._handle is not None:
            eventlog.close_source(self._handle)
            self._handle = None


def event_text(detection: Detection, most: int | None = None) -> str:
    """Return the fields of *detection*, a line each, as in Sysmon's events; values cut to *most* characters."""
    lines = ["CreateRemoteThread detected:"]
    lines += [f"{name}: {_value(value, most)}" for name, value in fields(detection).items()]
    return "\r\n".join(lines)


def _value(value: Any, most: int | None) -> str:  # noqa: ANN401 (any value that a record can have)
    match value:
        case list():
            text = "; ".join(value)
        case dict():
            text = "; ".join(f"{name}: {why}" for name, why in value.items())
        case _:
            text = str(value)
    text = _INSERTION.sub("% ", printable(text))
    return text if most is None or len(text) <= most else f"{text[: most - 1]}…"
