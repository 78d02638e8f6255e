"""The rule over a stream: hosts are hashed into buckets, and each bucket reorders its rows.

The state has versions (`reorder.STATE_VERSION`, `rule_state.STATE_VERSION`). The number of buckets can't change
within a checkpoint.
"""

from __future__ import annotations

import gc
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import pandas as pd
import pyarrow as pa
from pyspark.sql import functions as F  # noqa: N812
from pyspark.sql import types as T  # noqa: N812
from pyspark.sql.streaming.stateful_processor import StatefulProcessor

from etwdetect.fleet.blocks import packed, unpacked
from etwdetect.fleet.columns import RESULTS, rule_rows
from etwdetect.fleet.reorder import Bucket
from etwdetect.fleet.results import result_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pyspark.sql import DataFrame
    from pyspark.sql.streaming.stateful_processor import ExpiredTimerInfo, StatefulProcessorHandle, TimerValues

    from etwdetect.fleet.fault import Fault
    from etwdetect.fleet.judge import Hit, Row

_TEXT: Final = T.StructType([T.StructField("value", T.StringType())])

_PACKED: Final = T.StructType([T.StructField("bucket", T.LongType()), T.StructField("block", T.BinaryType())])


def remote_threads(events: DataFrame, buckets: int, lateness: int) -> DataFrame:
    """Return RESULTS for the stream *events*; *lateness* is in milliseconds."""
    rows = rule_rows(events)
    rows = rows.withColumn("bucket", F.pmod(F.xxhash64("host"), F.lit(buckets)))
    # Spark passes rows to a stateful processor one by one through pandas, so each row here is a block of rows.
    found = (
        rows.mapInArrow(_packed, _PACKED)
        .groupBy("bucket")
        .transformWithStateInPandas(
            statefulProcessor=_Buckets(lateness),
            outputStructType=_TEXT,
            outputMode="Append",
            timeMode="ProcessingTime",
        )
    )
    return found.select(F.from_json("value", RESULTS).alias("result")).select("result.*")


class _Buckets(StatefulProcessor):
    """Keeps one `Bucket` per grouping key, as text."""

    def __init__(self, lateness: int) -> None:
        self._lateness = lateness

    def init(self, handle: StatefulProcessorHandle) -> None:
        self._handle = handle
        self._state = handle.getValueState("bucket", _TEXT)

    def handleInputRows(  # noqa: N802 (Spark's name)
        self, key: Any, rows: Iterator[pd.DataFrame], timerValues: TimerValues  # noqa: ANN401, ARG002, N803
    ) -> Iterator[pd.DataFrame]:  # fmt: skip
        now = timerValues.getCurrentProcessingTimeInMs()
        with _no_garbage_collection():
            bucket = self._bucket()
            found = [*bucket.take(_rows(rows), now), *bucket.flush(now)]
            self._keep(bucket)
        yield _results(found)

    def handleExpiredTimer(  # noqa: N802
        self, key: Any, timerValues: TimerValues, expiredTimerInfo: ExpiredTimerInfo  # noqa: ANN401, ARG002, N803
    ) -> Iterator[pd.DataFrame]:  # fmt: skip
        with _no_garbage_collection():
            bucket = self._bucket()
            found = list(bucket.flush(timerValues.getCurrentProcessingTimeInMs()))
            self._keep(bucket)
        yield _results(found)

    def close(self) -> None:
        pass

    def _bucket(self) -> Bucket:
        state = self._state.get()
        return Bucket(self._lateness, None if state is None else state[0])

    def _keep(self, bucket: Bucket) -> None:
        self._state.update((bucket.to_json(),))
        for timer in list(self._handle.listTimers()):
            self._handle.deleteTimer(timer)
        due = bucket.next_flush()
        if due is not None:
            self._handle.registerTimer(due)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Suspend the cyclic garbage collector: a state has many objects and no cycles."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _packed(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    schema = pa.schema([("bucket", pa.int64()), ("block", pa.binary())])
    for batch in batches:
        blocks = list(packed(batch, "bucket"))
        yield pa.RecordBatch.from_arrays([list(column) for column in zip(*blocks, strict=True)], schema=schema)


def _rows(frames: Iterable[pd.DataFrame]) -> Iterator[tuple[str, str, Row]]:
    for frame in frames:
        for block in frame["block"]:
            yield from unpacked(block)


def _results(found: list[Hit | Fault]) -> pd.DataFrame:
    return pd.DataFrame({"value": [json.dumps(row) for row in result_rows(found)]}, dtype=object)
