"""The rule and all that a scan adds to its hits, over a data lake: every event twice, in order."""

from __future__ import annotations

from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final

import pyarrow as pa
from pyspark.sql import functions as F  # noqa: N812
from pyspark.sql.pandas.types import to_arrow_schema

from etwdetect.core.prefilter import THREAD_START
from etwdetect.fleet.columns import EVENTS, RESULTS, code_of, fault_of
from etwdetect.fleet.two_pass import JUDGE, PRESCAN, judge_in_two_passes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.sql import DataFrame

    from etwdetect.enrich.paths import Drives

_RECORDING: Final = ("host", "recording")


def remote_threads(events: DataFrame, partitions: int | None, drives: Drives = ()) -> DataFrame:
    """Return RESULTS, with all fields that a scan has, for the rows *events*."""
    between = THREAD_START - 1  # kinds that the rule ignores come before thread starts
    rank = F.coalesce(F.col("code"), F.lit(between))
    rows = events.withColumn("code", code_of()).withColumn("fault", fault_of()).withColumn("rank", rank)
    phases = F.when(F.col("fault").isNull(), F.array(F.lit(PRESCAN), F.lit(JUDGE))).otherwise(
        F.array(F.lit(JUDGE))
    )
    rows = rows.withColumn("phase", F.explode(phases))
    rows = rows.repartition(partitions, *_RECORDING) if partitions else rows.repartition(*_RECORDING)
    rows = rows.sortWithinPartitions(*_RECORDING, "phase", "time", "rank", "seq")
    return rows.select("phase", *EVENTS.names).mapInArrow(partial(_judge, drives), RESULTS)


def _judge(drives: Drives, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    schema = to_arrow_schema(RESULTS)
    results = judge_in_two_passes((row for batch in batches for row in batch.to_pylist()), drives)
    while block := list(islice(results, 1000)):
        yield pa.RecordBatch.from_pylist(block, schema)
