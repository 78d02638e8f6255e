"""The rule over a data lake: all rows of a recording in one partition, in order, are judged."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

import pyarrow as pa
from pyspark.sql import functions as F  # noqa: N812
from pyspark.sql.pandas.types import to_arrow_schema

from etwdetect.core.prefilter import THREAD_START
from etwdetect.fleet.blocks import judge_blocks
from etwdetect.fleet.columns import RESULTS, or_false, rule_rows
from etwdetect.fleet.results import result_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.sql import DataFrame

_ORDER: Final = ("time", "code", "seq")


def remote_threads(events: DataFrame, partitions: int | None) -> DataFrame:
    """Return RESULTS for the rows *events*, in *partitions*, or in as many as Spark chooses."""
    rows = rule_rows(events)
    # Start addresses of own threads are unused.
    own = (F.col("code") == THREAD_START) & (F.col("first") == F.col("pid"))
    rows = rows.withColumn("text", F.when(~or_false(own), F.col("text")))
    # One number sorts faster than two strings. Recordings with equal hashes are separated in Python.
    rows = rows.withColumn("key", F.xxhash64("host", "recording"))
    rows = rows.repartition(partitions, "key") if partitions else rows.repartition("key")
    return rows.sortWithinPartitions("key", *_ORDER).mapInArrow(_judge, RESULTS)


def _judge(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Judge sorted rows; memory is bounded by one batch and the state of one recording."""
    schema = to_arrow_schema(RESULTS)
    hits = judge_blocks(batches)
    while block := list(islice(hits, 1000)):
        yield pa.RecordBatch.from_pylist(list(result_rows(block)), schema)
