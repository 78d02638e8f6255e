"""A remote thread as the data of Sysmon's event 8 (CreateRemoteThread), for tools that read Sysmon.

Names, order and formats are those of the event's rendered message, every value as text, as collectors of Windows
events hand it on. What the event log itself puts around it (EventID, Channel, Computer, the time it was logged) is
left out: no such event was ever logged.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from etwdetect.core import filetime
from etwdetect.results.record import address, braced

if TYPE_CHECKING:
    from etwdetect.enrich.detection import Detection, Process

_MISSING: Final = "-"
_NO_GUID: Final = "{00000000-0000-0000-0000-000000000000}"
_NO_IMAGE: Final = "<unknown process>"


def fields(detection: Detection) -> dict[str, str]:
    """Return the event's data.

    Sysmon has SourceUser and TargetUser since version 13.30; they are there if one of them is known.
    """
    thread, start = detection.thread, detection.start
    source, target = detection.source, detection.target
    known = {
        "RuleName": "; ".join(detection.sigma) or _MISSING,
        "UtcTime": filetime.full_time(filetime.utc(thread.time)),
        **_process("Source", thread.creator_pid, source),
        **_process("Target", thread.pid, target),
        "NewThreadId": str(thread.tid),
        "StartAddress": address(detection) or _MISSING,
        "StartModule": start.module or _MISSING,
        "StartFunction": start.function or _MISSING,
    }
    if source.user or target.user:
        known |= {"SourceUser": source.user or _MISSING, "TargetUser": target.user or _MISSING}
    return known


def _process(side: str, pid: int, process: Process) -> dict[str, str]:
    return {
        f"{side}ProcessGuid": (braced(process.guid) or _NO_GUID).lower(),
        f"{side}ProcessId": str(pid),
        f"{side}Image": process.image or _NO_IMAGE,
    }


def to_sysmon(detection: Detection) -> str:
    """Return *detection* as one line of ASCII JSON."""
    return json.dumps(fields(detection))
