"""A remote thread as the data of Sysmon's event 8 (CreateRemoteThread), for tools that read Sysmon.

Names, order and formats are those of the event's rendered message, every value as text, as collectors of Windows
events hand it on. What the event log itself puts around it (EventID, Channel, Computer, the time it was logged) is
left out: no such event was ever logged.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from etwdetect.results.fields import BY_NAME
from etwdetect.results.record import to_dict

if TYPE_CHECKING:
    from etwdetect.enrich.detection import Detection

_ALWAYS: Final = (
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
)
_USERS: Final = ("SourceUser", "TargetUser")
"""Which Sysmon has since version 13.30."""


def to_event_data(detection: Detection) -> dict[str, str]:
    """Return the event's data; both users are in it if one of them is known."""
    known = to_dict(detection)
    users = _USERS if any(known.get(name) for name in _USERS) else ()
    data = {name: str(known.get(name, "")) or BY_NAME[name].absent_text for name in (*_ALWAYS, *users)}
    data |= {name: data[name].lower() for name in data if name.endswith("ProcessGuid")}
    rules = (*([detection.rule_name] if detection.rule_name else []), *detection.sigma)
    return {"RuleName": "; ".join(rules) or BY_NAME["RuleName"].absent_text, **data}


def to_sysmon(detection: Detection) -> str:
    """Return *detection* as one line of ASCII JSON."""
    return json.dumps(to_event_data(detection))
