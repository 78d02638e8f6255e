"""What can go wrong with a live session; each message is one sentence that a user can act on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from etwdetect.core import errors

if TYPE_CHECKING:
    from pathlib import Path


class LiveError(errors.EtwDetectError):
    """A session can't do what it was asked."""


class UnsupportedSystemError(errors.UnsupportedSystemError, LiveError):
    """This system is not Windows, or this Python is not one for 64-bit Windows."""


class NotElevatedError(errors.NotElevatedError, LiveError):
    """Windows lets administrators, Performance Log Users and services start sessions, and nobody else."""


class NoSessionLeftError(LiveError):
    """Windows has no room for one more session: ERROR_NO_SYSTEM_RESOURCES, 1450."""

    def __init__(self, doing: str) -> None:
        super().__init__(
            f"{doing}: Windows has no session left (64 in all, 8 for one provider, 8 system loggers); stop one of"
            " those that 'logman query -ets' lists"
        )


class SessionGoneError(LiveError):
    """Somebody else stopped the session."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the session {name} was stopped from outside")


class CallbackError(LiveError):
    """The code that takes events from Windows failed; the cause is chained to it."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(f"an event could not be taken from Windows: {cause!r}")


class EventLogError(LiveError):
    """The file for all events can't be written."""

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(f"the events cannot be written to {path}: {error.strerror}")


class SystemCallError(LiveError):
    """Windows failed in a way that has no class of its own; *code* is the Win32 error."""

    def __init__(self, doing: str, code: int, text: str) -> None:
        self.code = code
        super().__init__(f"{doing}: {text.strip().rstrip('.')} ({code})")
