"""Prints remote threads in the process that finds them: lines are cheaper to send than what they are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from etwdetect.enrich.detection import Detection


class Printed(NamedTuple):
    """The *lines* that were printed, each with its end; how many detections were shown, and *filtered_out*."""

    lines: list[str]
    shown: int
    filtered_out: int


class Printer(Protocol):
    """Prints the detections of one trace after the other."""

    def show(self, detection: Detection) -> None:
        """Take the next detection."""

    def flush(self) -> None:
        """Print what it holds, at the end of a trace."""

    def printed(self) -> Printed:
        """Return what was printed since this was asked the last time."""
