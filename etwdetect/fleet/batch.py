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

_RECORDING: Final = ("host", "recording")
_ORDER: Final = ("time", "code", "seq")


def judged(events: DataFrame, partitions: int | None) -> DataFrame:
    """Return RESULTS for the valid rows *events*, judged in *partitions* or in as many as Spark thinks right."""
    rows = events.select(*judge_columns()).where(F.col("code").isNotNull())
    rows = rows.repartition(partitions, *_RECORDING) if partitions else rows.repartition(*_RECORDING)
    rows = _without_idle_own_threads(rows).sortWithinPartitions(*_RECORDING, *_ORDER)
    return rows.mapInArrow(_judge, RESULTS)


def _without_idle_own_threads(rows: DataFrame) -> DataFrame:
    """Leave out each thread that a process made in itself right after another thread start in that process.

    That one took the process out of the new-process table, and nothing put it back, so this one changes nothing.
    One after anything else is kept, because a loss can leave a running process in the table.
    """
    before = F.lag("code").over(Window.partitionBy(*_RECORDING, "pid").orderBy(*_ORDER))
    idle = (F.col("code") == THREAD_START) & (F.col("first") == F.col("pid")) & (F.col("before") == THREAD_START)
    return rows.withColumn("before", before).where(~F.coalesce(idle, F.lit(0) == 1)).drop("before")


def _judge(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Judge sorted rows; memory is one batch and one recording's state."""
    schema = to_arrow_schema(RESULTS)
    hits = judge_sorted(_rows(batches))
    while block := list(islice(hits, 1000)):
        yield pa.RecordBatch.from_pylist(list(result_rows(block)), schema)


def _rows(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[str, str, Row]]:
    for batch in batches:
        host, recording, *values = (column.to_pylist() for column in batch.columns)
        yield from zip(host, recording, zip(*values, strict=True), strict=True)
