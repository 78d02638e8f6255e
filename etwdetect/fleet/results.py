"""From hits to the rows that come out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from etwdetect.enrich.detection import Detection, Process
from etwdetect.fleet.judge import Hit
from etwdetect.output.record import fields

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from etwdetect.fleet.judge import Fault


def result_rows(found: Iterable[tuple[str, str, Hit | Fault]]) -> Iterator[dict[str, Any]]:
    """Yield the row of each (host, recording, hit or fault)."""
    for host, recording, each in found:
        known = fields(_detection(each)) if isinstance(each, Hit) else json.loads(each.text)
        yield {"host": host, "recording": recording, "seq": each.seq} | known


def _detection(hit: Hit) -> Detection:
    thread = hit.thread
    source, target = Process(thread.creator_pid), Process(thread.pid)
    return Detection(thread, "etw", source, target, pointer_size=hit.pointer_size)
