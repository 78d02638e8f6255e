"""What the schemas of others have in common: each has its own place for the same things."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from etwdetect.results import record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from etwdetect.enrich.detection import Detection

SEVERITIES: Final = {"informational": 1, "low": 2, "medium": 3, "high": 4}
"""OCSF's numbers. ECS leaves them to whoever makes the events, so it has the same."""

_OUR_OWN: Final = (
    "Detector",
    "Time",
    "StartModuleOffset",
    "Kind",
    "KindReason",
    "Severity",
    "Sigma",
    "Count",
    "LastTime",
    "Evidence",
    "Absent",
)


def without_unknown(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return *fields* without those that are None or empty, at every depth."""
    known = {}
    for name, value in fields.items():
        inner = without_unknown(value) if isinstance(value, dict) else value
        if inner or not (inner is None or isinstance(inner, dict | list)):
            known[name] = inner
    return known


def our_own(detection: Detection, *more: str) -> dict[str, Any]:
    """Return the fields of our record that no other schema has a place for, under our names, and *more*."""
    known = record.fields(detection)
    return {name: known[name] for name in (*_OUR_OWN, *more) if name in known}


def sentence(detection: Detection) -> str:
    """Return the message that people read."""
    thread = detection.thread
    return (
        f"Remote thread {thread.tid} in process {thread.pid} ({detection.target.image or 'unknown'}), made by"
        f" thread {thread.creator_tid} of process {thread.creator_pid} ({detection.source.image or 'unknown'})"
    )


def file_name(path: str) -> str:
    """Return the last part of a Windows path; all of it where that is empty."""
    return path.rpartition("\\")[2] or path


def user_fields(user: str | None, sid: str) -> dict[str, str | None]:
    """Return *user* as name and domain, or, where only the SID is known, that under the name *sid*."""
    if user is None:
        return {}
    if user.startswith("S-1-"):
        return {sid: user}
    domain, _, name = user.rpartition("\\")
    return {"name": name, "domain": domain or None}
