"""A remote thread as Sysmon's event 8 (CreateRemoteThread), for tools that read Sysmon.

Names, order and values of the data are those of Sysmon 15 (schema 4.90). Around it is what readers look for first:
EventID, Channel and Computer. Provider names etwdetect, as no Sysmon logged this event as it is.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from etwdetect.core import filetime
from etwdetect.core.sysmon import OWN_PROVIDER
from etwdetect.results.fields import BY_NAME
from etwdetect.results.record import to_dict

if TYPE_CHECKING:
    from etwdetect.enrich.detection import Detection

_EVENT_ID: Final = 8
_CHANNEL: Final = "Microsoft-Windows-Sysmon/Operational"
_NO_COMPUTER: Final = "-"

_NAMES: Final = (
    "UtcTime",
    "SourceProcessGuid",
    "SourceProcessId",
    "SourceImage",
    "TargetProcessGuid",
    "TargetProcessId",
    "TargetImage",
    "NewThreadId",
    "StartAddress",
    "StartModule",
    "StartFunction",
    "SourceUser",
    "TargetUser",
)
_NUMBERS: Final = ("SourceProcessId", "TargetProcessId", "NewThreadId")


def event_data(detection: Detection) -> dict[str, str]:
    """Return the event's data, every value as text, as its rendered message has them."""
    known = to_dict(detection)
    data = {name: str(known.get(name, "")) or BY_NAME[name].absent_text for name in _NAMES}
    data |= {name: data[name].lower() for name in data if name.endswith("ProcessGuid")}
    return {"RuleName": _rule_names(detection) or BY_NAME["RuleName"].absent_text, **data}


def _rule_names(detection: Detection) -> str:
    """Return Sysmon's rule, and each Sigma rule that it does not name: it may be what this wrote before."""
    own = detection.rule_name or ""
    titles = (title for title in dict.fromkeys(detection.sigma) if f"; {title}; " not in f"; {own}; ")
    return "; ".join(filter(None, (own, *titles)))


def to_sysmon(detection: Detection) -> str:
    """Return *detection* as one line of ASCII JSON: one flat object, as collectors of Windows events write it."""
    around = {
        "EventID": _EVENT_ID,
        "Channel": _CHANNEL,
        "Provider_Name": OWN_PROVIDER,
        "Computer": detection.host or _NO_COMPUTER,
    }
    return json.dumps(around | event_data(detection))


def to_sysmon_event(detection: Detection) -> str:
    """Return *detection* as one line of ASCII JSON: Event.System and Event.EventData, as from an .evtx file.

    Attributes are in an object of their own (``TimeCreated_attributes``), and ids are numbers.
    """
    data: dict[str, Any] = event_data(detection)
    data |= {name: int(data[name]) for name in _NUMBERS}
    system = {
        "Provider_attributes": {"Name": OWN_PROVIDER},
        "EventID": _EVENT_ID,
        "Version": 2,
        "Level": 4,
        "Task": _EVENT_ID,
        "Opcode": 0,
        "Keywords": "0x8000000000000000",
        "TimeCreated_attributes": {"SystemTime": filetime.precise_time(detection.thread.time)},
        "Channel": _CHANNEL,
        "Computer": detection.host or _NO_COMPUTER,
    }
    return json.dumps({"Event": {"System": system, "EventData": data}})
