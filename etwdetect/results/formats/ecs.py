"""A remote thread in the Elastic Common Schema, with the fields that Elastic's Sysmon pipeline gives event 8.

The source is `process`; the target stays where that pipeline leaves it, in `winlog.event_data`, and is in
`Target.process` besides, as Elastic Defend writes it. What ECS has no name for is under `etwdetect`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from etwdetect._version import __version__
from etwdetect.core import filetime
from etwdetect.enrich.call_fields import frames_of
from etwdetect.enrich.programs import file_name
from etwdetect.results.attack import TACTICS, tactic_title, tactics
from etwdetect.results.command_line import split
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

ECS_VERSION: Final = "8.17.0"

_ACTIONS: Final = ("CreateRemoteThread", "CreateRemoteThread detected (rule: CreateRemoteThread)")
"""What the pipeline calls it, and what Winlogbeat does: Elastic's rules ask for the one or the other."""


def to_document(detection: Detection) -> dict[str, Any]:
    """Return *detection* as an ECS document; what is not known is absent."""
    thread, start = detection.thread, detection.start
    source, target = detection.source, detection.target
    users = user_fields(source.user, "id"), user_fields(target.user, "id")
    known = {
        "@timestamp": filetime.iso_time(thread.time),
        "message": sentence(detection),
        "ecs": {"version": ECS_VERSION},
        "event": {
            "kind": "event",
            "category": ["process"],
            "type": ["change"],
            "action": _ACTIONS,
            "code": "8",
            "dataset": "etwdetect.remote_thread",
            "id": record_id(detection),
            "provider": "etwdetect",
            "module": "etwdetect",
            "reason": detection.reason,
            "severity": SEVERITIES.get(detection.severity or ""),
        },
        "observer": {"product": "etwdetect", "version": __version__},
        "host": {
            "name": detection.host,
            "os": {"type": "windows", "family": "windows", "platform": "windows", "name": "Windows"},
        },
        "related": {
            "hosts": [detection.host] if detection.host else [],
            "user": sorted({user["name"] or "" for user in users if user.get("name")}),
        },
        "log": {"file": {"path": detection.trace}},
        "rule": _rule(detection),
        "threat": _threat(detection),
        "tags": list(dict.fromkeys(tag for rule in detection.sigma_rules for tag in rule.tags)),
        "process": {
            **_process(thread.creator_pid, source),
            "thread": {"id": thread.creator_tid, "Ext": _call_stack(detection)},
        },
        "user": users[0],
        "Target": {
            "process": {
                **_process(thread.pid, target),
                "thread": {
                    "id": thread.tid,
                    "Ext": {
                        "start_address": _long(thread.start_address),
                        "start_address_module": start.module,
                    },
                },
                "user": users[1],
            }
        },
        "winlog": {"event_data": _event_data(detection)},
        "etwdetect": extensions(detection, "SourceTerminalSessionId", "TargetTerminalSessionId"),
    }
    return without_unknown(known)


def _rule(detection: Detection) -> dict[str, Any]:
    """Return the Sigma rules that fired; the name is one keyword, which queries compare as a whole."""
    rules = detection.sigma_rules
    return {
        "name": "; ".join(detection.sigma) or None,
        "id": [rule.id for rule in rules if rule.id],
        "reference": list(dict.fromkeys(each for rule in rules for each in rule.references)),
        "ruleset": "Sigma" if detection.sigma else None,
    }


def _threat(detection: Detection) -> dict[str, Any]:
    """Return the techniques and tactics of ATT&CK, subtechniques below their own techniques."""
    if not detection.techniques:
        return {}
    names = dict.fromkeys(name for rule in detection.sigma_rules for name in tactics(rule.tags))
    return {
        "framework": "MITRE ATT&CK",
        "tactic": {
            "id": [TACTICS[name] for name in names],
            "name": list(map(tactic_title, names)),
        },
        "technique": {
            "id": list(dict.fromkeys(each.partition(".")[0] for each in detection.techniques)),
            "subtechnique": {"id": [each for each in detection.techniques if "." in each]},
        },
    }


def _long(number: int | None) -> int | None:
    """Return *number* if a long of Elasticsearch holds it: a larger one would have the whole document refused.

    The addresses of the kernel are larger; they stand as text in ``winlog.event_data.StartAddress``.
    """
    return number if number is not None and number < 1 << 63 else None


def _process(pid: int, process: Process) -> dict[str, Any]:
    arguments = split(process.command_line or "")
    return {
        "pid": pid,
        "entity_id": braced_guid(process),
        "executable": process.image,
        "name": process.image and file_name(process.image),
        "command_line": process.command_line,
        "args": arguments,
        "args_count": len(arguments) or None,
        "start": None if process.start_time is None else filetime.iso_time(process.start_time),
        "parent": {
            "pid": process.parent_pid,
            "executable": process.parent_image,
            "name": process.parent_image and file_name(process.parent_image),
            "command_line": process.parent_command_line,
        },
    }


def _call_stack(detection: Detection) -> dict[str, Any]:
    """Return the user part of the call stack, as Elastic Defend writes it."""
    calls = detection.calls
    frames = frames_of(calls.symbols or calls.trace) or ()
    return {
        "call_stack": [{"symbol_info": frame} for frame in frames],
        "call_stack_summary": calls.summary,
    }


def _event_data(detection: Detection) -> dict[str, Any]:
    """Return what the pipeline leaves as Sysmon wrote it; unlike Sysmon, without what is not known."""
    target, start = detection.target, detection.start
    return {
        "TargetProcessGUID": braced_guid(target),
        "TargetProcessId": str(detection.thread.pid),
        "TargetImage": target.image,
        "TargetUser": target.user,
        "NewThreadId": str(detection.thread.tid),
        "StartAddress": start_address(detection),
        "StartModule": start.module,
        "StartFunction": start.function,
    }


def to_ecs(detection: Detection) -> str:
    """Return *detection* as one line of ASCII JSON."""
    return json.dumps(to_document(detection))
