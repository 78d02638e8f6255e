"""A remote thread as named fields: the one form of json, csv and sqlite.

The names are those of Sysmon's event 8 and of Sigma's addons to it, and beside them our own; docs/output.md lists
them. What `from_json` reads is hostile: it may come from anywhere.
"""

from __future__ import annotations

import json
import reprlib
from typing import TYPE_CHECKING, Any, Final

from etwdetect.core import filetime
from etwdetect.core.rule import RemoteThread
from etwdetect.enrich.detection import Detection, Detector, Process, Start
from etwdetect.enrich.fields import hex_address

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA_VERSION: Final = 1

_PROCESS: Final = (
    "ProcessGuid",
    "ProcessId",
    "Image",
    "CommandLine",
    "User",
    "TerminalSessionId",
    "StartTime",
    "ParentProcessId",
    "ParentImage",
    "ParentCommandLine",
)

FIELDS: Final = (
    "SchemaVersion",
    "Detector",
    "Computer",
    "Time",
    "UtcTime",
    "SourceProcessGuid",
    "SourceProcessId",
    "SourceThreadId",
    *(f"Source{name}" for name in _PROCESS[2:]),
    *(f"Target{name}" for name in _PROCESS),
    "NewThreadId",
    "StartAddress",
    "StartModule",
    "StartModuleOffset",
    "StartFunction",
    "Kind",
    "KindReason",
    "Severity",
    "Sigma",
    "Count",
    "LastTime",
    "Evidence",
    "Absent",
)
"""Every field there can be, in their order."""


_POINTER_SIZES: Final = {len("0x01234567"): 4, len("0x0123456789ABCDEF"): 8}
"""By the length of a StartAddress."""

_MOST_ID: Final = 0xFFFFFFFF
_MOST_TIME: Final = (1 << 64) - 1
_MOST_COUNT: Final = (1 << 53) - 1


def fields(detection: Detection) -> dict[str, Any]:
    """Return what is known of *detection*, by name, in the order of FIELDS; what is not known is absent."""
    thread, start = detection.thread, detection.start
    source = _process("Source", thread.creator_pid, detection.source)
    known = {
        "SchemaVersion": SCHEMA_VERSION,
        "Detector": detection.detector,
        "Computer": detection.host,
        "Time": str(thread.time),
        "UtcTime": filetime.full_time(filetime.utc(thread.time)),
        "SourceProcessGuid": source.pop("SourceProcessGuid"),
        "SourceProcessId": source.pop("SourceProcessId"),
        "SourceThreadId": thread.creator_tid,
        **source,
        **_process("Target", thread.pid, detection.target),
        "NewThreadId": thread.tid,
        "StartAddress": address(detection),
        "StartModule": start.module,
        "StartModuleOffset": None if start.offset is None else f"0x{start.offset:X}",
        "StartFunction": start.function,
        "Kind": detection.kind,
        "KindReason": detection.reason,
        "Severity": detection.severity,
        "Sigma": list(detection.sigma) or None,
        "Count": detection.count if detection.count > 1 else None,
        "LastTime": None if detection.last_time is None else str(detection.last_time),
        "Evidence": list(thread.evidence),
        "Absent": dict(detection.absent) or None,
    }
    return {name: value for name, value in known.items() if value is not None}


def _process(side: str, pid: int, process: Process) -> dict[str, Any]:
    return {
        f"{side}ProcessGuid": braced(process.guid),
        f"{side}ProcessId": pid,
        f"{side}Image": process.image,
        f"{side}CommandLine": process.command_line,
        f"{side}User": process.user,
        f"{side}TerminalSessionId": process.session_id,
        f"{side}StartTime": None if process.start_time is None else str(process.start_time),
        f"{side}ParentProcessId": process.parent_pid,
        f"{side}ParentImage": process.parent_image,
        f"{side}ParentCommandLine": process.parent_command_line,
    }


def braced(guid: str | None) -> str | None:
    """Return *guid* as Sysmon writes it."""
    return None if guid is None else f"{{{guid}}}"


def address(detection: Detection) -> str | None:
    """Return the start address."""
    return hex_address(detection.thread.start_address, detection.pointer_size)


def to_json(detection: Detection) -> str:
    """Return *detection* as one line of ASCII JSON."""
    return json.dumps(fields(detection))


def from_json(line: str) -> Detection:
    """Return the detection that `to_json` wrote; ValueError, with what is wrong, where it did not.

    Nothing of the line is lost: writing the detection again gives the same fields. Their order and the white
    space between them may be another.
    """
    try:
        known = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"no JSON: {error.msg} at character {error.pos + 1:,}") from error
    except RecursionError as error:
        raise ValueError("not a record of a remote thread: lists in lists in lists") from error
    if not isinstance(known, dict) or "SchemaVersion" not in known:
        raise ValueError("not a record of a remote thread: it has no SchemaVersion")
    version = known["SchemaVersion"]
    if type(version) is int and version > SCHEMA_VERSION:
        raise ValueError(
            f"a record of schema version {reprlib.repr(version)}, which a newer etwdetect wrote; this one reads"
            f" version {SCHEMA_VERSION}"
        )
    detection = _detection(_Known(known))
    if to_json(detection) != line:
        json.loads(line, object_pairs_hook=_each_once)
        _same(known, fields(detection))
    return detection


def _each_once(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("it has a field twice")


class _Known:
    """The fields of a record, each with the type it must have."""

    def __init__(self, known: Mapping[str, Any]) -> None:
        self._known = known

    def text(self, name: str) -> str | None:
        value = self._known.get(name)
        if value is None or isinstance(value, str):
            return value
        raise self._wrong(name)

    def number(self, name: str, most: int = _MOST_ID) -> int | None:
        value = self._known.get(name)
        if value is None or (type(value) is int and 0 <= value <= most):  # a bool is no number
            return value
        raise self._wrong(name)

    def id(self, name: str) -> int:
        value = self.number(name)
        if value is None:
            raise self._wrong(name)
        return value

    def written_number(self, name: str, base: int, most: int = _MOST_TIME) -> int | None:
        """Return a number that is written as text."""
        text = self.text(name)
        if text is None:
            return None
        try:
            value = int(text, base)
        except ValueError:
            raise self._wrong(name) from None
        if not 0 <= value <= most:
            raise self._wrong(name)
        return value

    def moment(self, name: str) -> int | None:
        """Return a FILETIME that can be told as a date."""
        time = self.written_number(name, 10)
        if time is not None:
            try:
                filetime.utc(time)
            except OverflowError as error:
                raise ValueError(f"{name} is past the year 9999") from error
        return time

    def texts(self, name: str) -> tuple[str, ...]:
        value = self._known.get(name, [])
        if isinstance(value, list) and all(isinstance(each, str) for each in value):
            return tuple(value)
        raise self._wrong(name)

    def pairs(self, name: str) -> tuple[tuple[str, str], ...]:
        value = self._known.get(name, {})
        if isinstance(value, dict) and all(isinstance(each, str) for each in value.values()):
            return tuple(value.items())
        raise self._wrong(name)

    def _wrong(self, name: str) -> ValueError:
        if name not in self._known:
            return ValueError(f"{name} is missing")
        return ValueError(f"{name} is {reprlib.repr(self._known[name])}")


def _detection(known: _Known) -> Detection:
    time = known.moment("Time")
    if time is None:
        raise ValueError("Time is missing")
    address = known.text("StartAddress")
    pointer_size = 8 if address is None else _POINTER_SIZES.get(len(address))
    if pointer_size is None:
        raise ValueError(f"StartAddress is {reprlib.repr(address)}")
    thread = RemoteThread(
        time,
        known.id("SourceProcessId"),
        known.id("SourceThreadId"),
        known.id("TargetProcessId"),
        known.id("NewThreadId"),
        known.written_number("StartAddress", 16),
        known.texts("Evidence"),
    )
    count = known.number("Count", _MOST_COUNT)
    return Detection(
        thread,
        _detector(known.text("Detector")),
        _read_process("Source", known),
        _read_process("Target", known),
        Start(
            known.text("StartModule"), known.written_number("StartModuleOffset", 16), known.text("StartFunction")
        ),
        pointer_size,
        known.text("Computer"),
        known.text("Kind"),
        known.text("KindReason"),
        known.text("Severity"),
        known.pairs("Absent"),
        known.texts("Sigma"),
        1 if count is None else count,
        known.moment("LastTime"),
    )


def _detector(name: str | None) -> Detector:
    match name:
        case "etw" | "driver":
            return name
    raise ValueError(f"Detector is {reprlib.repr(name)}")


def _read_process(side: str, known: _Known) -> Process:
    guid = known.text(f"{side}ProcessGuid")
    return Process(
        known.id(f"{side}ProcessId"),
        known.text(f"{side}Image"),
        known.text(f"{side}CommandLine"),
        known.number(f"{side}ParentProcessId"),
        known.text(f"{side}ParentImage"),
        known.text(f"{side}ParentCommandLine"),
        known.text(f"{side}User"),
        known.number(f"{side}TerminalSessionId"),
        known.written_number(f"{side}StartTime", 10),
        None if guid is None else guid[1:-1],
    )


def _same(known: Mapping[str, Any], written: Mapping[str, Any]) -> None:
    """Raise ValueError unless *written* says the same as *known*, field by field."""
    for name in sorted(known.keys() - set(FIELDS)):
        raise ValueError(f"it has the unknown field {reprlib.repr(name)}")
    for name in FIELDS:
        if (name in known) != (name in written) or json.dumps(known.get(name)) != json.dumps(written.get(name)):
            is_, must_be = (reprlib.repr(each.get(name, "absent")) for each in (known, written))
            raise ValueError(f"{name} is {is_}, not {must_be}")
