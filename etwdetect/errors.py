"""The exceptions of `etwdetect.scan` and the commands, under their public name; core.errors defines them."""

from etwdetect.core.errors import (
    EtwDetectError,
    MissingExtraError,
    NotATraceError,
    NotElevatedError,
    OtherContentError,
    PayloadError,
    RuleFileError,
    UnsupportedSystemError,
)

__all__ = [
    "EtwDetectError",
    "MissingExtraError",
    "NotATraceError",
    "NotElevatedError",
    "OtherContentError",
    "PayloadError",
    "RuleFileError",
    "UnsupportedSystemError",
]
