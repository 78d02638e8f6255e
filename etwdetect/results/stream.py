"""Where results are written, and what writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from etwdetect.enrich.detection import Detection


class Stream(Protocol):
    """Takes lines: a text stream, or anything else with these two of its methods."""

    def write(self, text: str, /) -> int:
        """Write whole lines."""

    def flush(self) -> None:
        """Let readers see what was written so far."""


class Writer(Protocol):
    """Writes detections. Every method may raise OSError or OutputError."""

    def write(self, detection: Detection) -> None:
        """Write one detection."""

    def flush(self) -> None:
        """Let readers see what was written so far."""


class FileWriter(Writer, Protocol):
    """A writer with a file of its own."""

    def close(self) -> None:
        """Finish the file."""
