"""A remote thread as named fields: the one form of json and csv.

The names are those of Sysmon's event 8, and beside them our own; docs/output.md lists them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from etwdetect.enrich.detection import Detection, Process
from etwdetect.output import times
from etwdetect.output.escape import cell
from etwdetect.rule import RemoteThread

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA_VERSION: Final = 1

FIELDS: Final = (
    "SchemaVersion",
    "Detector",
    "Time",
    "UtcTime",
    "SourceProcessId",
    "SourceThreadId",
    "SourceImage",
    "TargetProcessId",
    "TargetImage",
    "NewThreadId",
    "StartAddress",
    "Evidence",
)
"""Every field there can be, in their order."""

_ADDRESS_LENGTHS: Final = {len("0x01234567"): 4, len("0x0123456789ABCDEF"): 8}
"""By the length of a StartAddress: the pointer size."""


def fields(detection: Detection) -> dict[str, Any]:
    """Return what is known of *detection*, by name, in the order of FIELDS; what is not known is absent."""
    thread = detection.thread
    address = thread.start_address
    known = {
        "SchemaVersion": SCHEMA_VERSION,
        "Detector": detection.detector,
        "Time": str(thread.time),
        "UtcTime": times.full_time(times.utc(thread.time)),
        "SourceProcessId": thread.creator_pid,
        "SourceThreadId": thread.creator_tid,
        "SourceImage": detection.source.image,
        "TargetProcessId": thread.pid,
        "TargetImage": detection.target.image,
        "NewThreadId": thread.tid,
        "StartAddress": None if address is None else _address(address, detection.pointer_size),
        "Evidence": list(thread.evidence),
    }
    return {name: value for name, value in known.items() if value is not None}


def _address(address: int, pointer_size: int) -> str:
    """Return 8 digits for a 32-bit machine and 16 for another, or for what no 32-bit machine has."""
    return f"0x{address:0{8 if pointer_size == 4 and address < 1 << 32 else 16}X}"


def to_json(detection: Detection) -> str:
    """Return *detection* as one line of ASCII JSON."""
    return json.dumps(fields(detection))


def from_json(line: str) -> Detection:
    """Return the detection that `to_json` wrote; ValueError, with what is wrong, where it did not."""
    try:
        return _from_fields(json.loads(line))
    except (KeyError, OverflowError, TypeError, RecursionError) as error:
        raise ValueError(f"not a record of a remote thread: {error!r}") from error


def _from_fields(known: Mapping[str, Any]) -> Detection:
    if known["SchemaVersion"] != SCHEMA_VERSION:
        raise ValueError(f"schema version {known['SchemaVersion']} is not {SCHEMA_VERSION}")
    if known["Detector"] not in ("etw", "driver"):
        raise ValueError(f"{known['Detector']!r} is no detector")
    address = known.get("StartAddress")
    if address is not None and len(address) not in _ADDRESS_LENGTHS:
        raise ValueError(f"StartAddress is {address!r}")
    thread = RemoteThread(
        int(known["Time"]),
        _id(known, "SourceProcessId"),
        _id(known, "SourceThreadId"),
        _id(known, "TargetProcessId"),
        _id(known, "NewThreadId"),
        None if address is None else int(address, 16),
        tuple(map(str, known["Evidence"])),
    )
    pointer_size = 8 if address is None else _ADDRESS_LENGTHS[len(address)]
    images = known.get("SourceImage"), known.get("TargetImage")
    if not all(image is None or isinstance(image, str) for image in images):
        raise TypeError("an image that is no text")
    source, target = map(Process, (thread.creator_pid, thread.pid), images)
    detection = Detection(thread, known["Detector"], source, target, pointer_size=pointer_size)
    for name, value in fields(detection).items():
        if json.dumps(known[name]) != json.dumps(value):
            raise ValueError(f"{name} is {known[name]!r}, not {value!r}")
    return detection


def _id(known: Mapping[str, Any], name: str) -> int:
    value = known[name]
    if type(value) is not int or not 0 <= value <= 0xFFFFFFFF:  # a bool is no id
        raise ValueError(f"{name} is {value!r}")
    return value


def cells(detection: Detection) -> list[str]:
    """Return *detection* as the cells of a table row under FIELDS; what is not known is empty."""
    known = fields(detection)
    known["Evidence"] = " ".join(detection.thread.evidence)
    return [cell(str(known.get(name, ""))) for name in FIELDS]
