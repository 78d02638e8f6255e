"""What can go wrong with a sink."""

from __future__ import annotations

from etwdetect.core.errors import EtwDetectError


class SinkError(EtwDetectError):
    """A sink cannot be used as it was asked for."""


class RefusedError(Exception):
    """The other side took notice and does not want it: sending it again would change nothing."""
