"""The rule and all that a scan adds to its hits, over a lake: every event, twice, in order.

What a scan knows ahead of time (a listing at the end of a trace names the processes of its beginning) it knows
from reading everything before it judges anything. Here every row stands in its recording twice: first all of them
as foresight, then all of them to be judged. So Python's memory does not grow with a recording.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
from pyspark.sql import functions as F  # noqa: N812
from pyspark.sql.pandas.types import to_arrow_schema

from etwdetect.enrich.enricher import Enricher
from etwdetect.events import Loss
from etwdetect.fleet.columns import EVENTS, FAULTS, RESULTS, code_of, fault_of
from etwdetect.fleet.judge import THREAD_START
from etwdetect.fleet.results import record_of
from etwdetect.recorded.schema import Recording, RecordingStart, from_row
from etwdetect.rule import RemoteThreadRule

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pyspark.sql import DataFrame

    from etwdetect.enrich.detection import Detection
    from etwdetect.events import Event

_RECORDING: Final = ("host", "recording")
_FORESIGHT: Final = 0
_EVENT: Final = 1


def judged(events: DataFrame, partitions: int | None) -> DataFrame:
    """Return RESULTS, with everything that a scan tells, for the rows *events*."""
    between = THREAD_START - 1  # kinds that the rule knows nothing of stand before the thread starts
    rank = F.coalesce(F.col("code"), F.lit(between))
    rows = events.withColumn("code", code_of()).withColumn("fault", fault_of()).withColumn("rank", rank)
    phases = F.when(F.col("fault").isNull(), F.array(F.lit(_FORESIGHT), F.lit(_EVENT))).otherwise(
        F.array(F.lit(_EVENT))
    )
    rows = rows.withColumn("phase", F.explode(phases))
    rows = rows.repartition(partitions, *_RECORDING) if partitions else rows.repartition(*_RECORDING)
    rows = rows.sortWithinPartitions(*_RECORDING, "phase", "time", "rank", "seq")
    return rows.select("phase", *EVENTS.names).mapInArrow(_judge, RESULTS)


class _Scan:
    """The rule and the names over one recording."""

    def __init__(self, start: RecordingStart | None) -> None:
        self._rule = RemoteThreadRule(session_start=None if start is None else start.start_time)
        if start is None:
            self._enricher = Enricher()
            self._rule.observe(Loss(0, 1))
        else:
            self._enricher = Enricher(pointer_size=start.pointer_size, machine=str(start.boot_time))
        self.foresee = self._enricher.foresee
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


def _judge(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    schema = to_arrow_schema(RESULTS)
    results = _results(row for batch in batches for row in batch.to_pylist())
    while block := list(islice(results, 1000)):
        yield pa.RecordBatch.from_pylist(block, schema)


def _results(rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    here: Recording | None = None
    scan = _Scan(None)
    last = (-1, -1)
    for row in rows:
        if row["fault"] is not None:
            yield {name: row[name] for name in FAULTS.names}
            continue
        try:
            recording, seq, event = from_row(row)
        except ValueError as error:
            if row["phase"] == _EVENT:
                yield {name: row[name] for name in FAULTS.names} | {"fault": str(error)}
            continue
        if recording != here:
            if here is not None:
                yield from _told(here, scan.settled())
            here, last = recording, (-1, -1)
            scan = _Scan(event if isinstance(event, RecordingStart) else None)
        if (row["phase"], seq) == last or isinstance(event, RecordingStart):
            continue  # a row that is there twice
        last = row["phase"], seq
        if row["phase"] == _FORESIGHT:
            scan.foresee(event)
        else:
            yield from _told(recording, scan.judge(seq, event))
    if here is not None:
        yield from _told(here, scan.settled())


def _told(recording: Recording, found: Iterable[tuple[int, Detection]]) -> Iterator[dict[str, Any]]:
    for seq, detection in found:
        yield {"host": recording.host, "recording": recording.name, "seq": seq} | record_of(detection)
