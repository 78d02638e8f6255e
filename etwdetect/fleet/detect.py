"""The function that a Spark program calls: events in, remote threads out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from etwdetect.fleet import batch, named, streaming
from etwdetect.fleet.columns import completed

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from etwdetect.enrich.paths import Drives

DEFAULT_BUCKETS: Final = 16
DEFAULT_LATENESS: Final = "10 minutes"

_UNITS: Final = {"millisecond": 1, "second": 1000, "minute": 60_000, "hour": 3_600_000, "day": 86_400_000}


def detect(  # noqa: PLR0913 (the options of a user)
    df: DataFrame,
    *,
    host: str = "host",
    buckets: int | None = None,
    lateness: str = DEFAULT_LATENESS,
    names: bool = False,
    drives: Drives = (),
) -> DataFrame:
    """Return the remote threads in *df*, rows of docs/reference/events.md, in `columns.RESULTS`.

    *df* may be a batch or a stream. *host* is its column with the machine's name. *buckets* is the number of parts
    that the hosts are divided into: by default Spark decides for a batch, and a stream has DEFAULT_BUCKETS; it
    can't change within a checkpoint. A stream accepts rows up to *lateness* ("90 seconds", "10 minutes") after
    later rows of the same recording; a batch sorts all rows.

    With *names*, which are not possible with a stream, a record has all fields of a scan: programs, users,
    modules, the kind. This reads every event twice and takes several times as long. Without, a record has ids,
    start address and evidence. *drives* are pairs of a volume's device and its drive, for names.

    A row with a `fault` is not a remote thread: it stands for a row or a file that could not be read, or for a row
    that came too late. ValueError for an invalid *lateness* or *buckets*.
    """
    if buckets is not None and buckets < 1:
        raise ValueError(f"buckets must be at least 1, not {buckets}")
    milliseconds = parse_lateness(lateness)
    events = completed(df, host)
    if names:
        if df.isStreaming:
            raise ValueError("names are not possible with a stream")
        return named.remote_threads(events, buckets, drives)
    if df.isStreaming:
        return streaming.remote_threads(events, buckets or DEFAULT_BUCKETS, milliseconds)
    return batch.remote_threads(events, buckets)


def parse_lateness(lateness: str) -> int:
    """Return *lateness*, a number and a unit, in milliseconds."""
    found = re.fullmatch(r"\s*(\d{1,9})\s*([a-z]+?)s?\s*", lateness)
    if found is None or found[2] not in _UNITS:
        raise ValueError(f"{lateness!r} is not a duration such as '90 seconds' or '10 minutes'")
    return int(found[1]) * _UNITS[found[2]]
