"""What the ecs and ocsf formats have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from etwdetect.results import record
from etwdetect.results.fields import FIELDS, braced

if TYPE_CHECKING:
    from collections.abc import Mapping

    from etwdetect.enrich.detection import Detection, Process

SEVERITIES: Final = {"informational": 1, "low": 2, "medium": 3, "high": 4, "critical": 5}
"""OCSF's numbers; ECS prescribes none, so its events have the same."""

_EXTENSIONS: Final = tuple(field.name for field in FIELDS if field.extension)


def without_unknown(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return *fields* without those that are None or empty, at every depth."""
    known = {}
    for name, value in fields.items():
        inner = without_unknown(value) if isinstance(value, dict) else value
        if inner or not (inner is None or isinstance(inner, dict | list)):
            known[name] = inner
    return known


def extensions(detection: Detection, *more: str) -> dict[str, Any]:
    """Return the fields that neither schema has a place for, under our names, and those called *more*."""
    known = record.to_dict(detection)
    return {name: known[name] for name in (*_EXTENSIONS, *more) if name in known}


def braced_guid(process: Process) -> str | None:
    """Return the ProcessGuid as Sysmon writes it."""
    return None if process.guid is None else braced(process.guid)


def sentence(detection: Detection) -> str:
    """Return the message for people."""
    thread = detection.thread
    creator = "" if thread.creator_tid is None else f" thread {thread.creator_tid} of"
    return (
        f"Remote thread {thread.tid} in process {thread.pid} ({detection.target.image or 'unknown'}), made by"
        f"{creator} process {thread.creator_pid} ({detection.source.image or 'unknown'})"
    )


def user_fields(user: str | None, sid: str) -> dict[str, str | None]:
    """Return *user* as name and domain, or, where only the SID is known, that under the name *sid*."""
    if user is None:
        return {}
    if user.startswith("S-1-"):
        return {sid: user}
    domain, _, name = user.rpartition("\\")
    return {"name": name, "domain": domain or None}
