"""The function that a Spark program calls: events in, remote threads out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from etwdetect.fleet import batch, named, streaming
from etwdetect.fleet.columns import completed

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

DEFAULT_BUCKETS: Final = 16
DEFAULT_LATENESS: Final = "10 minutes"

_UNITS: Final = {"millisecond": 1, "second": 1000, "minute": 60_000, "hour": 3_600_000, "day": 86_400_000}


def detect(
    df: DataFrame,
    *,
    host: str = "host",
    buckets: int | None = None,
    lateness: str = DEFAULT_LATENESS,
    names: bool = False,
) -> DataFrame:
    """Return the remote threads in *df*, rows of docs/events.md, in `columns.RESULTS`.

    *df* may be a batch or a stream. *host* is its column with the machine's name. *buckets* is how many parts the
    hosts are divided into; for a batch Spark decides where it is not given, for a stream it is DEFAULT_BUCKETS and
    can't be changed during a checkpoint's life. A stream judges rows in order that come no later than *lateness*
    ("90 seconds", "10 minutes") after later ones of the same recording; a batch sorts them all.

    With *names*, which a stream can't have, a record has all that a scan tells of it: programs, users, modules,
    the kind. It takes every event twice, and several times as long; without, it has ids, address and evidence.

    A row with a `fault` is no remote thread: it stands for a row or a file that could not be read, or for a row
    that came too late. ValueError for a *lateness* that is none, or *buckets* below 1.
    """
    if buckets is not None and buckets < 1:
        raise ValueError(f"{buckets} is no number of buckets")
    milliseconds = parse_lateness(lateness)
    events = completed(df, host)
    if names:
        if df.isStreaming:
            raise ValueError("a stream is judged without names")
        return named.judged(events, buckets)
    if df.isStreaming:
        return streaming.judged(events, buckets or DEFAULT_BUCKETS, milliseconds)
    return batch.judged(events, buckets)


def parse_lateness(lateness: str) -> int:
    """Return *lateness*, a number and a unit, in milliseconds."""
    found = re.fullmatch(r"\s*(\d{1,9})\s*([a-z]+?)s?\s*", lateness)
    if found is None or found[2] not in _UNITS:
        raise ValueError(f"{lateness!r} is no time such as '90 seconds' or '10 minutes'")
    return int(found[1]) * _UNITS[found[2]]
