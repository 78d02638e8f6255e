"""The current time as a FILETIME."""

from __future__ import annotations

import time

from etwdetect.core import filetime


class MonotonicFiletime:
    """The current FILETIME from a clock that never goes back, as ETW's time stamps do not.

    The monotonic clock may stop while the machine sleeps; system time goes on, so the later of both is used.
    """

    def __init__(self) -> None:
        self._anchor = filetime_now() - _monotonic_ticks()

    def now(self) -> int:
        """Return the current FILETIME."""
        return max(self._anchor + _monotonic_ticks(), filetime_now())


def filetime_now() -> int:
    """Return the system time as a FILETIME: 100 ns units since 1601-01-01 UTC."""
    return filetime.from_unix_nanoseconds(time.time_ns())


def _monotonic_ticks() -> int:
    return time.monotonic_ns() // filetime.NANOSECONDS_PER_TICK
