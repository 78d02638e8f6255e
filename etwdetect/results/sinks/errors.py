"""The errors of sinks."""

from __future__ import annotations

from etwdetect.core.errors import EtwDetectError


class SinkError(EtwDetectError):
    """A sink's URL can't be used."""


class RefusedError(Exception):
    """The receiver rejected a message for good: sending it again would change nothing."""
