"""The exceptions of etwdetect.scan and the commands, under their public name; they are defined in core.errors."""

from etwdetect.core.errors import (
    EtwDetectError,
    NotATraceError,
    NotElevatedError,
    OtherContentError,
    UnsupportedSystemError,
)

__all__ = [
    "EtwDetectError",
    "NotATraceError",
    "NotElevatedError",
    "OtherContentError",
    "UnsupportedSystemError",
]
