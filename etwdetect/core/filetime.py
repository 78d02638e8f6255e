"""FILETIMEs as people read them: milliseconds are cut off, never rounded.

>>> utc(116444736000000000 + 19_999)
datetime.datetime(1970, 1, 1, 0, 0, 0, 1999, tzinfo=datetime.timezone.utc)
>>> clock_time(utc(116444736000000000 + 19_999))
'00:00:00.001'
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from etwdetect.core.events import UNIX_EPOCH

_EPOCH: Final = datetime(1601, 1, 1, tzinfo=UTC)
_TICK: Final = timedelta(microseconds=1)


def utc(filetime: int) -> datetime:
    """Return the time of *filetime* in UTC, to the microsecond; OverflowError past the year 9999."""
    return _EPOCH + timedelta(microseconds=filetime // 10)


def local(filetime: int) -> datetime:
    """Return the time of *filetime* in the reader's time zone; in UTC where the system knows no zone then."""
    time = utc(filetime)
    try:
        return time.astimezone()
    except (OSError, OverflowError, ValueError):
        return time


def from_datetime(time: datetime) -> int:
    """Return the FILETIME of *time*, which has a time zone."""
    return (time - _EPOCH) // _TICK * 10


def clock_time(time: datetime) -> str:
    """Return ``HH:MM:SS.mmm``."""
    return full_time(time)[len("YYYY-MM-DD ") :]


def full_time(time: datetime) -> str:
    """Return ``YYYY-MM-DD HH:MM:SS.mmm``."""
    return time.replace(tzinfo=None).isoformat(" ", "milliseconds")


def unix_milliseconds(filetime: int) -> int:
    """Return milliseconds since 1970, cut off; negative before it."""
    return (filetime - UNIX_EPOCH) // 10_000


def iso_time(filetime: int) -> str | None:
    """Return ``YYYY-MM-DDTHH:MM:SS.mmmZ``; None past the year 9999, which no clock shows."""
    try:
        return full_time(utc(filetime)).replace(" ", "T") + "Z"
    except OverflowError:
        return None
