"""Shows times in the text formats: local or UTC, with or without the date."""

from __future__ import annotations

from typing import TYPE_CHECKING

from etwdetect.core import filetime

if TYPE_CHECKING:
    from datetime import datetime


class Clock:
    """Shows FILETIMEs in the reader's time zone or *in_utc*; once `dates` is set, with their dates.

    Once `traces` is set, lines name the trace besides: times of several would be mixed up.
    """

    def __init__(self, *, in_utc: bool = False, dates: bool = False) -> None:
        self._in_utc = in_utc
        self.dates = dates
        self.traces = False

    def moment(self, time: int) -> datetime:
        """Return the FILETIME *time* as a datetime in the time zone to show."""
        return filetime.utc(time) if self._in_utc else filetime.local(time)

    def clock_time(self, time: int) -> str:
        """Return the time of day."""
        return filetime.clock_time(self.moment(time))

    def time(self, time: int) -> str:
        """Return the time of day, after its date if dates are shown."""
        return (filetime.full_time if self.dates else filetime.clock_time)(self.moment(time))
