"""Syslog: a detection or a status record as an RFC 5424 message of bounded length."""

from __future__ import annotations

import bisect
import json
import socket
from typing import TYPE_CHECKING, Any, Final

from etwdetect.core import filetime
from etwdetect.results.fields import FIELDS
from etwdetect.results.formats.schema_fields import sentence
from etwdetect.results.record import to_dict
from etwdetect.results.status import status_fields
from etwdetect.results.wording import printable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from etwdetect.enrich.detection import Detection
    from etwdetect.results.status import StatusRecord

_FACILITY: Final = 13  # log audit
_SEVERITIES: Final = {"critical": 2, "high": 3, "medium": 4, "low": 5, "informational": 6}
_NOTICE: Final = 5

_ELEMENT: Final = "etwdetect@32473"
"""The id of our structured data. 32473 is the enterprise number that RFC 5612 reserves for documentation."""

_LEFT_OUT: Final = frozenset(field.name for field in FIELDS if "syslog" in field.left_out_by)

LIMIT: Final = 8_096
"""How many bytes a message has at most, unless the URL says otherwise: what rsyslog takes by default.

rsyslog breaks a longer one into fragments, and takes a header inside a fragment for a message of its own;
syslog-ng closes the connection at one of more than 64 KiB.
"""
LEAST_LIMIT: Final = 4_096
"""The smallest limit: all fields fit, each cut to a few characters."""

_MAX_VALUES: Final = 100
"""How many values of a list are sent; only edited files have more."""

_THIS_HOST: Final = socket.gethostname()


def syslog_message(detection: Detection, limit: int = LIMIT) -> bytes:
    """Return *detection* as a message in UTF-8 of at most *limit* bytes, LEAST_LIMIT or more.

    The structured data has the fields of our record under their names, lists joined; KindReason and Absent are
    left out. Where all does not fit, the longest values are cut and end in "…", and the parameter Cut names them.
    HOSTNAME is the record's machine, or this one where the record names none.
    """
    severity = _SEVERITIES.get(detection.severity or "", _NOTICE)
    head = _head(severity, detection.thread.time, detection.host or _THIS_HOST, "CreateRemoteThread")
    values = {name: value for name, value in to_dict(detection).items() if name not in _LEFT_OUT}
    return _message(head, values, sentence(detection), limit)


def status_message(record: StatusRecord, limit: int = LIMIT) -> bytes:
    """Return *record* as a message in UTF-8 of at most *limit* bytes, with the MSGID Status."""
    severity = _SEVERITIES["medium" if record.kind.is_warning else "informational"]
    head = _head(severity, record.time, record.host, "Status")
    return _message(head, status_fields(record), record.message, limit)


def _head(severity: int, time: int, host: str, message_id: str) -> str:
    host = "".join(char if "!" <= char <= "~" else "?" for char in host)[:255] or "-"
    moment = filetime.iso_time(time) or "-"
    return f"<{_FACILITY * 8 + severity}>1 {moment} {host} etwdetect - {message_id}"


def _message(head: str, fields: Mapping[str, Any], sentence: str, limit: int) -> bytes:
    values = {name: _text(value, limit) for name, value in fields.items()}
    text = printable(sentence[:limit])
    whole = _assemble(head, values, text, limit)
    if len(whole) <= limit:
        return whole
    # The longest cut that fits.
    most = bisect.bisect(range(2, limit), limit, key=lambda most: len(_assemble(head, values, text, most))) + 1
    return _assemble(head, values, text, most)


def _assemble(head: str, values: dict[str, str], text: str, most: int) -> bytes:
    """Return the message with each of *values* cut to *most* characters, and *text* to twice as many."""
    cut = [name for name, value in values.items() if len(value) > most]
    shown = {name: _cut(value, most) for name, value in values.items()}
    if cut:
        shown["Cut"] = " ".join(cut)
    data = "".join(f' {name}="{_quoted(value)}"' for name, value in shown.items())
    text = _cut(text, 2 * most)
    mark = "" if text.isascii() else "\ufeff"  # says that UTF-8 follows
    return f"{head} [{_ELEMENT}{data}] {mark}{text}".encode()


def _text(value: str | int | list[str] | list[dict[str, Any]], limit: int) -> str:
    """Return *value* as text; of a value that will be cut, only so much that it still is too long."""
    if isinstance(value, list):
        texts = (each if isinstance(each, str) else json.dumps(each) for each in value[:_MAX_VALUES])
        value = "; ".join(text[:limit] for text in texts)
    return printable(str(value)[: limit + 1])


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("]", "\\]")


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
