"""The errors of sinks."""

from __future__ import annotations

from etwdetect.core.errors import EtwDetectError


class SinkError(EtwDetectError):
    """A sink's URL can't be used."""


class RefusedError(Exception):
    """The receiver rejected a message for good: sending it again would change nothing."""


class TooMuchError(Exception):
    """The receiver rejected several messages for their size together: fewer at once may pass."""


class LaterError(OSError):
    """The receiver is there, and asks to be left alone for *seconds*."""

    def __init__(self, reason: str, seconds: float) -> None:
        super().__init__(reason)
        self.seconds = seconds
