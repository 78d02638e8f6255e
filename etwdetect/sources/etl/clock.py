"""Converts the raw time stamps of a trace to FILETIMEs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from etwdetect.core.filetime import LAST_FILETIME, TICKS_PER_SECOND

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from etwdetect.sources.etl.logfile import LogfileHeader

QPC: Final = 1
SYSTEM_TIME: Final = 2
CPU_CYCLES: Final = 3
"""The clock types of a logfile header's ReservedFlags."""

_MOST: Final = 1 << 61
"""Numbers below it can be added and subtracted in 64 bits."""


class ClockConversion:
    """Converts between the raw time stamps of one trace and FILETIMEs, in integer arithmetic.

    The anchor is the record of the logfile header: its raw time stamp corresponds to the header's StartTime.
    BootTime is not a usable anchor: it was 0.12 s off in one measured trace.
    """

    def __init__(self, header: LogfileHeader, anchor: int) -> None:
        """Take *header* and *anchor*, the raw time of its record. Raises ValueError for an unusable clock."""
        match header.clock:
            case 0 | 1:  # 0 requests the default: the performance counter since Windows Vista
                self._multiplier, self._divisor = TICKS_PER_SECOND, header.perf_freq
            case 2:
                self._multiplier, self._divisor = 1, 1
            case 3:
                self._multiplier, self._divisor = 10, header.cpu_mhz
            case unknown:
                raise ValueError(f"the logfile header has an unknown clock type, {unknown}")
        if self._divisor <= 0:
            raise ValueError(f"the logfile header has an invalid clock frequency of {self._divisor}")
        self._anchor = anchor
        self._start = header.start_time

    def filetime(self, raw: int) -> int:
        """Return the FILETIME of the raw time stamp *raw*; the result may lie outside 0 to LAST_FILETIME."""
        return self._start + (raw - self._anchor) * self._multiplier // self._divisor

    def filetimes(self, raw: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Return the FILETIMEs of *raw*, and which of them are valid; those of a time far off are not."""
        import numpy as np  # noqa: PLC0415 (lazy import: fast start-up for small traces)

        far = _MOST // self._multiplier
        if max(abs(self._anchor), self._divisor * self._multiplier, abs(self._start)) >= _MOST:
            return np.zeros_like(raw), np.zeros(len(raw), np.bool_)
        near = (raw > -_MOST) & (raw < _MOST)
        whole, rest = np.divmod(np.where(near, raw, 0) - self._anchor, self._divisor)
        near &= abs(whole) < far
        time = self._start + np.where(near, whole, 0) * self._multiplier + rest * self._multiplier // self._divisor
        return time, near & (time >= 0) & (time <= LAST_FILETIME)

    def ahead_of(self, other: ClockConversion) -> int:
        """Return how much later this conversion's FILETIMEs are than those of *other*, in 100 ns units."""
        return self._start - other.filetime(self._anchor)

    def raw(self, filetime: int) -> int:
        """Return the earliest raw time stamp whose FILETIME is *filetime* or later."""
        return self._anchor - (self._start - filetime) * self._divisor // self._multiplier
