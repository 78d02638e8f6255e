"""A remote thread as an event of Timesketch: the fields of json behind the three that Timesketch requires."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from etwdetect.core import filetime
from etwdetect.results.formats.schema_fields import sentence
from etwdetect.results.record import to_dict

if TYPE_CHECKING:
    from etwdetect.enrich.detection import Detection

_TIMESTAMP_DESC: Final = "Remote Thread Created"


def to_timesketch(detection: Detection) -> str:
    """Return *detection* as one line of ASCII JSON; ``datetime`` is in UTC, to the microsecond."""
    event = {
        "message": sentence(detection),
        "datetime": filetime.utc(detection.thread.time).isoformat(timespec="microseconds"),
        "timestamp_desc": _TIMESTAMP_DESC,
    }
    return json.dumps(event | to_dict(detection))
