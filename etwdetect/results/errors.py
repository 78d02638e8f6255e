"""The errors of outputs, besides the OSErrors of files."""

from __future__ import annotations

from etwdetect.core.errors import EtwDetectError


class OutputError(EtwDetectError):
    """An output can't be opened or written."""
