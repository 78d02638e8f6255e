"""What can go wrong with an output, besides the OSErrors of a file."""

from __future__ import annotations

from etwdetect.core.errors import EtwDetectError


class OutputError(EtwDetectError):
    """An output cannot take what it is given."""
