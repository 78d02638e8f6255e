"""FILETIMEs: 100 ns units since 1601-01-01 UTC. Conversions to and from other forms; nothing here reads a clock.

Milliseconds are truncated, never rounded.

>>> utc(UNIX_EPOCH + 19_999)
datetime.datetime(1970, 1, 1, 0, 0, 0, 1999, tzinfo=datetime.timezone.utc)
>>> clock_time(utc(UNIX_EPOCH + 19_999))
'00:00:00.001'
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

TICKS_PER_SECOND: Final = 10_000_000
TICKS_PER_MILLISECOND: Final = 10_000
TICKS_PER_MICROSECOND: Final = 10
NANOSECONDS_PER_TICK: Final = 100

UNIX_EPOCH: Final = 116_444_736_000_000_000
"""1970-01-01 UTC."""

LAST_FILETIME: Final = 2_650_467_743_999_999_999
"""The last tick of the year 9999: Python's datetime ends there."""

_EPOCH: Final = datetime(1601, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def utc(filetime: int) -> datetime:
    """Return *filetime* in UTC, to the microsecond. Raises OverflowError beyond LAST_FILETIME."""
    return _EPOCH + timedelta(microseconds=filetime // TICKS_PER_MICROSECOND)


def local(filetime: int) -> datetime:
    """Return *filetime* in the local time zone, or in UTC if the system cannot convert that time."""
    time = utc(filetime)
    try:
        return time.astimezone()
    except (OSError, OverflowError, ValueError):
        return time


def from_datetime(time: datetime) -> int:
    """Return the FILETIME of *time*, which must have a time zone."""
    return (time - _EPOCH) // _MICROSECOND * TICKS_PER_MICROSECOND


def from_unix_seconds(seconds: float) -> int:
    """Return the FILETIME of *seconds* since 1970-01-01 UTC, to the nearest tick."""
    return UNIX_EPOCH + round(seconds * TICKS_PER_SECOND)


def from_unix_nanoseconds(nanoseconds: int) -> int:
    """Return the FILETIME of *nanoseconds* since 1970-01-01 UTC, rounded down."""
    return UNIX_EPOCH + nanoseconds // NANOSECONDS_PER_TICK


def clock_time(time: datetime) -> str:
    """Return ``HH:MM:SS.mmm``."""
    return full_time(time)[len("YYYY-MM-DD ") :]


def full_time(time: datetime) -> str:
    """Return ``YYYY-MM-DD HH:MM:SS.mmm``."""
    return time.replace(tzinfo=None).isoformat(" ", "milliseconds")


def unix_milliseconds(filetime: int) -> int:
    """Return whole milliseconds since 1970-01-01 UTC, rounded down; negative before that date."""
    return (filetime - UNIX_EPOCH) // TICKS_PER_MILLISECOND


def precise_time(filetime: int) -> str | None:
    """Return ``YYYY-MM-DDTHH:MM:SS.fffffffZ``, with all of its seven digits; None beyond LAST_FILETIME."""
    try:
        moment = utc(filetime)
    except OverflowError:
        return None
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{filetime % TICKS_PER_SECOND:07}Z"


def iso_time(filetime: int) -> str | None:
    """Return ``YYYY-MM-DDTHH:MM:SS.mmmZ``; None beyond LAST_FILETIME."""
    try:
        return full_time(utc(filetime)).replace(" ", "T") + "Z"
    except OverflowError:
        return None
