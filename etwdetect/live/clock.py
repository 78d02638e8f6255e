"""The time of now as a FILETIME."""

from __future__ import annotations

import time

from etwdetect.core.events import UNIX_EPOCH


class Clock:
    """The FILETIME of now, on a clock that never goes back, as ETW's does not.

    Should the machine sleep and that clock with it, the system's time, which goes on, is right.
    """

    def __init__(self) -> None:
        self._anchor = filetime_now() - time.monotonic_ns() // 100

    def time(self) -> int:
        """Return it."""
        return max(self._anchor + time.monotonic_ns() // 100, filetime_now())


def filetime_now() -> int:
    """Return the system's time: 100 ns units since 1601-01-01 UTC."""
    return time.time_ns() // 100 + UNIX_EPOCH
