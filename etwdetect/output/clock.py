"""Times as the reader of the text formats wants them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from etwdetect.output import times

if TYPE_CHECKING:
    from datetime import datetime


class Clock:
    """Shows FILETIMEs in the reader's time zone or *in_utc*; once `dates` is set, with their dates."""

    def __init__(self, *, in_utc: bool = False, dates: bool = False) -> None:
        self._in_utc = in_utc
        self.dates = dates

    def moment(self, filetime: int) -> datetime:
        """Return the time of *filetime* in the reader's zone."""
        return times.utc(filetime) if self._in_utc else times.local(filetime)

    def clock_time(self, filetime: int) -> str:
        """Return the time of day."""
        return times.clock_time(self.moment(filetime))

    def time(self, filetime: int) -> str:
        """Return the time of day, after its date if dates are shown."""
        return (times.full_time if self.dates else times.clock_time)(self.moment(filetime))
