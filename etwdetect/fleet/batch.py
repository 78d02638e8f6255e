"""The rule over a lake: filter, one partition for all rows of a recording, in order, judge."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

import pyarrow as pa
from pyspark.sql import Window
from pyspark.sql import functions as F  # noqa: N812
from pyspark.sql.pandas.types import to_arrow_schema

from etwdetect.fleet.columns import RESULTS, judge_columns
from etwdetect.fleet.judge import THREAD_START, judge_sorted
from etwdetect.fleet.results import result_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pyspark.sql import DataFrame

    from etwdetect.fleet.judge import Row

_ORDER: Final = ("time", "code", "seq")


def judged(events: DataFrame, partitions: int | None) -> DataFrame:
    """Return RESULTS for the valid rows *events*, judged in *partitions* or in as many as Spark thinks right."""
    rows = events.select(*judge_columns()).where(F.col("code").isNotNull())
    # One number sorts faster than two texts. Recordings that share it are told apart in Python.
    rows = rows.withColumn("key", F.xxhash64("host", "recording"))
    rows = rows.repartition(partitions, "key") if partitions else rows.repartition("key")
    rows = _without_idle_own_threads(rows).sortWithinPartitions("key", *_ORDER)
    return rows.mapInArrow(_judge, RESULTS)


def _without_idle_own_threads(rows: DataFrame) -> DataFrame:
    """Leave out each thread that a process made in itself right after another thread start in that process.

    That one took the process out of the new-process table, and nothing put it back, so this one changes nothing.
    One after anything else is kept, because a loss can leave a running process in the table.
    """
    process = Window.partitionBy("key", "pid").orderBy(*_ORDER)
    same = (F.lag("host").over(process) == F.col("host")) & (
        F.lag("recording").over(process) == F.col("recording")
    )
    own = (F.col("code") == THREAD_START) & (F.col("first") == F.col("pid"))
    idle = own & (F.lag("code").over(process) == THREAD_START) & same
    return rows.withColumn("idle", F.coalesce(idle, F.lit(0) == 1)).where(~F.col("idle")).drop("idle")


def _judge(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Judge sorted rows; memory is one batch and one recording's state."""
    schema = to_arrow_schema(RESULTS)
    hits = judge_sorted(_rows(batches))
    while block := list(islice(hits, 1000)):
        yield pa.RecordBatch.from_pylist(list(result_rows(block)), schema)


def _rows(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[int, str, str, Row]]:
    for batch in batches:
        host, recording, *values, key = (column.to_pylist() for column in batch.columns)
        yield from zip(key, host, recording, zip(*values, strict=True), strict=True)
