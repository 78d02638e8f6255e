"""A remote thread as an event of the Open Cybersecurity Schema Framework: Process Activity (1007), Inject.

The actor's process is the source, `process` the target. What OCSF has no attribute for is in `unmapped`, under our
names; so is where the thread starts, as `module` would be the one that the actor injected. Techniques of ATT&CK
and the Sigma rules that fired have their place in the profile security_control.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from etwdetect._version import __version__
from etwdetect.core import filetime
from etwdetect.enrich.programs import file_name
from etwdetect.results.attack import TACTICS, tactic_title, tactics
from etwdetect.results.fields import record_id
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

OCSF_VERSION: Final = "1.8.0"
"""The newest release; the attributes that 1.6 deprecated are not used."""

_UNKNOWN, _OTHER = 0, 99
_REGULAR_FILE: Final = 1
_WINDOWS: Final = 100

_OBSERVED: Final = 3
_HOSTNAME: Final = 1, "Hostname"
_USER_NAME: Final = 4, "User Name"
_PROCESS_NAME: Final = 9, "Process Name"
_COMMAND_LINE: Final = 13, "Command Line"
_FILE_PATH: Final = 45, "File Path"
"""Types of observables."""

_HOST_NAME: Final = re.compile(
    r"([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?\.)*[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
)
"""The host names that OCSF allows; anything else is only the device's name."""


def _is_host_name(host: str | None) -> bool:
    """Whether OCSF allows *host* as a host name."""
    return _HOST_NAME.fullmatch(host or "") is not None


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
            "profiles": ["security_control"],
        },
        "timezone_offset": 0,  # times are in UTC
        "action_id": _OBSERVED,
        "action": "Observed",
        "is_alert": bool(detection.sigma),
        "policy": _policy(detection),
        "attacks": _attacks(detection),
        "observables": _observables(detection),
        "device": {
            "type_id": _UNKNOWN,
            "type": "Unknown",
            "hostname": detection.host if _is_host_name(detection.host) else None,
            "name": detection.host or "unknown",  # OCSF requires one of the three
            "uid": detection.host,
            "os": {"name": "Windows", "type": "Windows", "type_id": _WINDOWS},
        },
        "actor": {"process": {**_process(thread.creator_pid, detection.source), "ptid": thread.creator_tid}},
        "process": {**_process(thread.pid, detection.target), "ptid": thread.tid},
        "unmapped": extensions(detection, "StartAddress", "StartModule", "StartFunction"),
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


def _policy(detection: Detection) -> dict[str, Any] | None:
    """Return the Sigma rules that fired as the policy that the event matched."""
    if not detection.sigma:
        return None
    ids = [rule.id for rule in detection.sigma_rules if rule.id]
    return {"name": "; ".join(detection.sigma), "uid": "; ".join(ids) or None, "group": {"name": "Sigma"}}


def _attacks(detection: Detection) -> list[dict[str, Any]]:
    """Return an entry for each technique, and one for each tactic: a rule does not say which belong together."""
    attacks: list[dict[str, Any]] = []
    for each in detection.techniques:
        technique, _, sub = each.partition(".")
        attacks.append({"technique": {"uid": technique}} | ({"sub_technique": {"uid": each}} if sub else {}))
    names = dict.fromkeys(name for rule in detection.sigma_rules for name in tactics(rule.tags))
    return attacks + [{"tactic": {"uid": TACTICS[name], "name": tactic_title(name)}} for name in names]


def _observables(detection: Detection) -> list[dict[str, Any]]:
    """Return what a search for one value finds the event by."""
    found = [("device.hostname", _HOSTNAME, detection.host if _is_host_name(detection.host) else None)]
    for place, process in (("actor.process", detection.source), ("process", detection.target)):
        user = user_fields(process.user, "uid")
        found += [
            (f"{place}.name", _PROCESS_NAME, process.image and file_name(process.image)),
            (f"{place}.file.path", _FILE_PATH, process.image),
            (f"{place}.cmd_line", _COMMAND_LINE, process.command_line),
            (f"{place}.user.name", _USER_NAME, user.get("name")),
        ]
    return [
        {"name": name, "type_id": type_id, "type": type_, "value": value}
        for name, (type_id, type_), value in found
        if value
    ]


def to_ocsf(detection: Detection) -> str:
    """Return *detection* as one line of ASCII JSON."""
    return json.dumps(to_event(detection))
