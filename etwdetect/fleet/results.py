"""From hits and faults to the rows of the result."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from etwdetect.enrich.detection import Detection, Process
from etwdetect.fleet.judge import Hit
from etwdetect.results.record import to_dict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from etwdetect.fleet.fault import Fault

_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def result_rows(found: Iterable[Hit | Fault]) -> Iterator[dict[str, Any]]:
    """Yield the row of each hit or fault."""
    for each in found:
        if isinstance(each, Hit):
            place = {"host": each.host, "recording": each.recording, "seq": each.seq}
            yield place | record_of(_detection(each))
        else:
            yield each.to_row()


def record_of(detection: Detection) -> dict[str, Any]:
    r"""Return the fields of *detection* in valid Unicode, which Spark requires.

    An unpaired surrogate, which names in Windows may contain, becomes its escape, such as ``\udc80``.
    """
    return {name: _unicode(value) for name, value in to_dict(detection).items()}


def _unicode(value: Any) -> Any:  # noqa: ANN401 (any value that a record can have)
    match value:
        case str():
            return _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", value)
        case list():
            return [_unicode(each) for each in value]
        case dict():
            return {name: _unicode(each) for name, each in value.items()}
    return value


def _detection(hit: Hit) -> Detection:
    thread = hit.thread
    source, target = Process(thread.creator_pid), Process(thread.pid)
    return Detection(thread, "etw", source, target, pointer_size=hit.pointer_size, trace=hit.trace)
