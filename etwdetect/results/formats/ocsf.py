"""A remote thread as an event of the Open Cybersecurity Schema Framework: Process Activity (1007), Inject.

The actor's process is the source, `process` the target, `module` the one that the new thread starts in. What OCSF
has no attribute for is in `unmapped`, under our names. All attributes exist since OCSF 1.1.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from etwdetect._version import __version__
from etwdetect.core import filetime
from etwdetect.enrich.programs import file_name
from etwdetect.results.fields import record_id, start_address
from etwdetect.results.formats.schema_fields import (
    SEVERITIES,
    braced_guid,
    extensions,
    sentence,
    user_fields,
    without_unknown,
)

if TYPE_CHECKING:
    from etwdetect.enrich.detection import Detection, Process

OCSF_VERSION: Final = "1.4.0"

_UNKNOWN, _OTHER = 0, 99
_REGULAR_FILE: Final = 1
_WINDOWS: Final = 100

_HOST_NAME: Final = re.compile(
    r"([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?\.)*[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
)
"""The host names that OCSF allows; anything else is only the device's name."""


def to_event(detection: Detection) -> dict[str, Any]:
    """Return *detection* as an OCSF event; what is not known is absent, or "Unknown" where it must be there."""
    thread = detection.thread
    severity = detection.severity
    known = {
        "class_uid": 1007,
        "class_name": "Process Activity",
        "category_uid": 1,
        "category_name": "System Activity",
        "activity_id": 4,
        "activity_name": "Inject",
        "type_uid": 100704,
        "type_name": "Process Activity: Inject",
        "injection_type_id": 1,
        "injection_type": "Remote Thread",
        "time": filetime.unix_milliseconds(thread.time),
        "start_time": filetime.unix_milliseconds(thread.time) if detection.last_time is not None else None,
        "end_time": None if detection.last_time is None else filetime.unix_milliseconds(detection.last_time),
        "count": detection.count if detection.count > 1 else None,
        "severity_id": _UNKNOWN if severity is None else SEVERITIES.get(severity, _OTHER),
        "severity": "Unknown" if severity is None else severity.capitalize(),
        "message": sentence(detection),
        "metadata": {
            "version": OCSF_VERSION,
            "uid": record_id(detection),
            "product": {"name": "etwdetect", "vendor_name": "etwdetect", "version": __version__},
            "log_name": detection.trace,
        },
        "device": {
            "type_id": _UNKNOWN,
            "type": "Unknown",
            "hostname": detection.host if _HOST_NAME.fullmatch(detection.host or "") else None,
            "name": detection.host or "unknown",  # OCSF requires one of the two
            "os": {"name": "Windows", "type": "Windows", "type_id": _WINDOWS},
        },
        "actor": {"process": {**_process(thread.creator_pid, detection.source), "tid": thread.creator_tid}},
        "process": {**_process(thread.pid, detection.target), "tid": thread.tid},
        "module": _module(detection),
        "unmapped": extensions(detection),
    }
    return without_unknown(known)


def _process(pid: int, process: Process) -> dict[str, Any]:
    parent = {
        "pid": process.parent_pid,
        "name": process.parent_image and file_name(process.parent_image),
        "file": _file(process.parent_image),
        "cmd_line": process.parent_command_line,
    }
    return {
        "pid": pid,
        "uid": braced_guid(process),
        "name": process.image and file_name(process.image),
        "file": _file(process.image),
        "cmd_line": process.command_line,
        "created_time": None if process.start_time is None else filetime.unix_milliseconds(process.start_time),
        "session": {"uid": None if process.session_id is None else str(process.session_id)},
        "user": user_fields(process.user, "uid"),
        "parent_process": None if process.parent_pid is None else parent,  # OCSF requires an id
    }


def _file(path: str | None) -> dict[str, Any] | None:
    if path is None:
        return None
    return {"name": file_name(path), "path": path, "type_id": _REGULAR_FILE}


def _module(detection: Detection) -> dict[str, Any] | None:
    thread, start = detection.thread, detection.start
    if thread.start_address is None and start.module is None:
        return None
    base = None
    if thread.start_address is not None and start.offset is not None:
        base = f"0x{max(0, thread.start_address - start.offset):X}"
    return {
        "start_address": start_address(detection),
        "base_address": base,
        "file": _file(start.module),
        "function_name": start.function,
        "load_type_id": _UNKNOWN,
        "load_type": "Unknown",
    }


def to_ocsf(detection: Detection) -> str:
    """Return *detection* as one line of ASCII JSON."""
    return json.dumps(to_event(detection))
