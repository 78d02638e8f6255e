"""From the time stamps in a trace to FILETIMEs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from etwdetect.sources.etl.logfile import LogfileHeader

TICKS_PER_SECOND: Final = 10_000_000
"""FILETIME units: 100 ns."""

LAST_FILETIME: Final = 2_650_467_743_999_999_999
"""The end of the year 9999, past which no calendar of ours goes."""

QPC: Final = 1
SYSTEM_TIME: Final = 2
CPU_CYCLES: Final = 3


class Clock:
    """Turns the raw time stamps of one trace into FILETIMEs, in integers throughout.

    The anchor is the logfile header's record: its raw time is the header's StartTime. (BootTime is none: it
    was seen 0.12 s off.)
    """

    def __init__(self, header: LogfileHeader, anchor: int) -> None:
        """Take *header* and *anchor*, the raw time of its record; ValueError if no clock comes of them."""
        match header.clock:
            case 0 | 1:  # 0 asked for the default, which is the performance counter since Vista
                self._multiplier, self._divisor = TICKS_PER_SECOND, header.perf_freq
            case 2:
                self._multiplier, self._divisor = 1, 1
            case 3:
                self._multiplier, self._divisor = 10, header.cpu_mhz
            case unknown:
                raise ValueError(f"the logfile header names an unknown clock, {unknown}")
        if self._divisor <= 0:
            raise ValueError(f"the logfile header gives its clock a frequency of {self._divisor}")
        self._anchor = anchor
        self._start = header.start_time

    def filetime(self, raw: int) -> int:
        """Return the FILETIME of the raw time stamp *raw*; it may lie outside of 0 to LAST_FILETIME."""
        return self._start + (raw - self._anchor) * self._multiplier // self._divisor

    def raw(self, filetime: int) -> int:
        """Return the earliest raw time stamp whose FILETIME is *filetime* or later."""
        return self._anchor - (self._start - filetime) * self._divisor // self._multiplier
