"""All that a scan tells, over the rows of many recordings: the part of `named` that imports no Spark.

A scan reads everything before it judges anything: a rundown at the end of a trace names the processes of its
beginning. Here every row comes twice per recording instead: first all rows for the prescan, then all rows to be
judged. So memory does not grow with the size of a recording.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from etwdetect.core.events import Loss, ThreadStart
from etwdetect.core.rule import RemoteThreadRule
from etwdetect.enrich.enricher import Enricher
from etwdetect.fleet.fault import Fault
from etwdetect.fleet.results import record_of
from etwdetect.pipeline import Pipeline
from etwdetect.results.contradictions import possible_miss
from etwdetect.sources.eventdata.schema import Recording, RecordingStart, from_row

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from etwdetect.core.events import Event
    from etwdetect.enrich.paths import Drives

PRESCAN: Final = 0
JUDGE: Final = 1
"""The values of the column `phase`: what a row is for."""


class _RecordingScan:
    """Rule and enrichment over *recording*; *start* is None where the row that begins it is missing."""

    def __init__(self, recording: Recording, start: RecordingStart | None, drives: Drives) -> None:
        self._recording = recording
        self.trace: str | None = None
        """The name of the trace."""
        self._sha256 = None if start is None else start.trace_sha256
        if start is None:
            enricher = Enricher(drives=drives)
        else:
            enricher = Enricher(pointer_size=start.pointer_size, machine=str(start.boot_time), drives=drives)
        rule = RemoteThreadRule(session_start=None if start is None else start.start_time)
        self._pipeline = Pipeline(rule, enricher)
        if start is None:
            rule.observe(Loss(0, 1))
        self.prescan = enricher.prescan
        self._seqs: deque[int] = deque()
        """The rows of the remote threads whose grace period is not over."""

    def judge(self, seq: int, event: Event) -> Iterator[dict[str, Any]]:
        """Yield the records whose grace period is over before *event*, the next one; then take it."""
        yield from self.take(event.time - 1)
        misses = self._pipeline.rule.possible_miss_count
        if self._pipeline.observe(event) is not None:
            self._seqs.append(seq)
        elif isinstance(event, ThreadStart) and self._pipeline.rule.possible_miss_count > misses:
            yield Fault(possible_miss(event), *self._recording, seq).to_row()

    def take(self, now: int | None = None) -> Iterator[dict[str, Any]]:
        """Yield the records whose grace period is over at *now*, or all that are left."""
        host, name = self._recording
        for found in self._pipeline.take(now):
            detection = replace(found, trace=self.trace, trace_sha256=self._sha256)
            yield {"host": host, "recording": name, "seq": self._seqs.popleft()} | record_of(detection)


def judge_in_two_passes(rows: Iterable[dict[str, Any]], drives: Drives = ()) -> Iterator[dict[str, Any]]:
    """Judge sorted rows of events, each with its phase; yield the rows of the result."""
    here: Recording | None = None
    scan: _RecordingScan | None = None
    last = (-1, -1)
    for row in rows:
        if row["fault"] is not None:
            yield Fault.of_row(row).to_row()
            continue
        try:
            recording, seq, event = from_row(row)
        except ValueError as error:
            if row["phase"] == JUDGE:
                yield Fault.of_row(row, str(error)).to_row()
            continue
        if scan is None or recording != here:
            if scan is not None:
                yield from scan.take()
            here, last = recording, (-1, -1)
            start = event if isinstance(event, RecordingStart) else None
            scan = _RecordingScan(recording, start, drives)
            scan.trace = (start and start.trace) or row["file"]
        if (row["phase"], seq) == last or isinstance(event, RecordingStart):
            continue  # a duplicate row
        last = row["phase"], seq
        if row["phase"] == PRESCAN:
            scan.prescan(event)
        else:
            yield from scan.judge(seq, event)
    if scan is not None:
        yield from scan.take()
