"""Shows times in the text formats: local or UTC, with or without the date."""

from __future__ import annotations

from typing import TYPE_CHECKING

from etwdetect.core import filetime

if TYPE_CHECKING:
    from datetime import datetime


class Clock:
    """Shows FILETIMEs in the reader's time zone or *in_utc*; once `dates` is set, with their dates.

    Once `traces` is set, lines name the trace besides: times of several would be mixed up. With *stacks* they have
    the call stack.
    """

    def __init__(self, *, in_utc: bool = False, dates: bool = False, stacks: bool = False) -> None:
        self._in_utc = in_utc
        self.dates = dates
        self.traces = False
        self.stacks = stacks

    def moment(self, time: int) -> datetime:
        """Return the FILETIME *time* as a datetime in the time zone to show."""
        return filetime.utc(time) if self._in_utc else filetime.local(time)

    def clock_time(self, time: int) -> str:
        """Return the time of day."""
        return filetime.clock_time(self.moment(time))

    def time(self, time: int) -> str:
        """Return the time of day, after its date if dates are shown.

        In the hour that comes twice when clocks go back, the offset from UTC follows: ``02:30:00.000+01:00``.
        """
        moment = self.moment(time)
        text = (filetime.full_time if self.dates else filetime.clock_time)(moment)
        return text + moment.isoformat()[-len("+00:00") :] if not self._in_utc and _comes_twice(moment) else text


def _comes_twice(moment: datetime) -> bool:
    """Whether the local clock shows *moment* twice."""
    shown = moment.replace(tzinfo=None)
    try:
        first, second = (shown.replace(fold=fold).astimezone().utcoffset() for fold in (0, 1))
    except (OSError, OverflowError, ValueError):
        return False  # as `filetime.local`: the system cannot convert that time
    return first != second
