"""All that a scan tells, over the rows of many recordings: the part of `named` that knows no Spark.

What a scan knows ahead of time (a listing at the end of a trace names the processes of its beginning) it knows
from reading everything before it judges anything. Here every row stands in its recording twice: first all of them
as foresight, then all of them to be judged. So memory does not grow with a recording.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from etwdetect.core.events import Loss
from etwdetect.core.rule import RemoteThreadRule
from etwdetect.enrich.enricher import Enricher
from etwdetect.fleet.results import record_of
from etwdetect.sources.eventdata.schema import Recording, RecordingStart, from_row

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from etwdetect.core.events import Event
    from etwdetect.enrich.detection import Detection

FORESIGHT: Final = 0
EVENT: Final = 1
"""What a row stands there for: its column `phase`."""

_FAULT: Final = ("host", "recording", "seq", "file", "offset", "fault")


class _Scan:
    """The rule and the names over one recording."""

    def __init__(self, start: RecordingStart | None) -> None:
        self._rule = RemoteThreadRule(session_start=None if start is None else start.start_time)
        if start is None:
            self._enricher = Enricher()
            self._rule.observe(Loss(0, 1))
        else:
            self._enricher = Enricher(pointer_size=start.pointer_size, machine=str(start.boot_time))
        self.foresee = self._enricher.prescan
        self._seqs: deque[int] = deque()

    def judge(self, seq: int, event: Event) -> Iterator[tuple[int, Detection]]:
        """Yield what has settled before *event*, the next one, each with the seq of its row; then take it."""
        yield from self.settled(event.time - 1)
        self._enricher.observe(event)
        hit = self._rule.observe(event)
        if hit is not None:
            self._enricher.add(hit)
            self._seqs.append(seq)

    def settled(self, now: int | None = None) -> Iterator[tuple[int, Detection]]:
        """Yield what has settled by *now*, or all that is left."""
        for detection in self._enricher.take(now):
            yield self._seqs.popleft(), detection


def judge_twice(rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Judge sorted rows of events, each with its phase; yield what is known of the columns of what comes out."""
    here: Recording | None = None
    scan = _Scan(None)
    last = (-1, -1)
    for row in rows:
        if row["fault"] is not None:
            yield {name: row[name] for name in _FAULT}
            continue
        try:
            recording, seq, event = from_row(row)
        except ValueError as error:
            if row["phase"] == EVENT:
                yield {name: row[name] for name in _FAULT} | {"fault": str(error)}
            continue
        if recording != here:
            if here is not None:
                yield from _told(here, scan.settled())
            here, last = recording, (-1, -1)
            scan = _Scan(event if isinstance(event, RecordingStart) else None)
        if (row["phase"], seq) == last or isinstance(event, RecordingStart):
            continue  # a row that is there twice
        last = row["phase"], seq
        if row["phase"] == FORESIGHT:
            scan.foresee(event)
        else:
            yield from _told(recording, scan.judge(seq, event))
    if here is not None:
        yield from _told(here, scan.settled())


def _told(recording: Recording, found: Iterable[tuple[int, Detection]]) -> Iterator[dict[str, Any]]:
    for seq, detection in found:
        yield {"host": recording.host, "recording": recording.name, "seq": seq} | record_of(detection)
