"""Status records in the formats that an HTTP receiver can get."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from etwdetect._version import __version__
from etwdetect.core import filetime
from etwdetect.results.formats.ecs import ECS_VERSION
from etwdetect.results.formats.ocsf import OCSF_VERSION
from etwdetect.results.formats.schema_fields import SEVERITIES
from etwdetect.results.status import StatusKind, status_counts, status_fields, status_id

if TYPE_CHECKING:
    from etwdetect.results.status import StatusRecord

_ECS_TYPES: Final = {StatusKind.STARTED: "start", StatusKind.STOPPED: "end"}
_OCSF_ACTIVITIES: Final = {StatusKind.STARTED: (3, "Start"), StatusKind.STOPPED: (4, "Stop")}
_OTHER: Final = 99


def status_line(form: str, record: StatusRecord) -> str:
    """Return *record* as one line of ASCII JSON, in the format called *form*: json, ecs or ocsf."""
    match form:
        case "ecs":
            fields = status_ecs(record)
        case "ocsf":
            fields = status_ocsf(record)
        case _:
            fields = status_fields(record)
    return json.dumps(fields)


def status_ecs(record: StatusRecord) -> dict[str, Any]:
    """Return *record* as an ECS document."""
    return {
        "@timestamp": filetime.iso_time(record.time),
        "message": record.message,
        "ecs": {"version": ECS_VERSION},
        "event": {
            "kind": "state" if record.kind is StatusKind.HEARTBEAT else "event",
            "category": ["host"],
            "type": [_ECS_TYPES.get(record.kind, "info")],
            "action": record.kind.value,
            "dataset": "etwdetect.status",
            "id": status_id(record),
            "provider": "etwdetect",
            "module": "etwdetect",
            "severity": SEVERITIES[_severity(record)],
        },
        "observer": {"product": "etwdetect", "version": __version__},
        "host": {"name": record.host, "os": {"type": "windows"}},
        "etwdetect": status_counts(record),
    }


def status_ocsf(record: StatusRecord) -> dict[str, Any]:
    """Return *record* as an OCSF event: Application Lifecycle (6002)."""
    activity, name = _OCSF_ACTIVITIES.get(record.kind, (_OTHER, record.kind.value))
    product = {"name": "etwdetect", "vendor_name": "etwdetect", "version": __version__}
    return {
        "class_uid": 6002,
        "class_name": "Application Lifecycle",
        "category_uid": 6,
        "category_name": "Application Activity",
        "activity_id": activity,
        "activity_name": name,
        "type_uid": 6002 * 100 + activity,
        "time": filetime.unix_milliseconds(record.time),
        "severity_id": SEVERITIES[_severity(record)],
        "severity": _severity(record).capitalize(),
        "message": record.message,
        "app": product,
        "metadata": {"version": OCSF_VERSION, "uid": status_id(record), "product": product},
        "unmapped": status_fields(record),
    }


def _severity(record: StatusRecord) -> str:
    return "medium" if record.kind.is_warning else "informational"
