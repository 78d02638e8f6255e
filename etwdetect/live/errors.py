"""The errors of live sessions; each message is one sentence that a user can act on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from etwdetect.core.errors import EtwDetectError

if TYPE_CHECKING:
    from pathlib import Path


class LiveError(EtwDetectError):
    """A session cannot do what was requested."""


class NoSessionLeftError(LiveError):
    """Windows cannot start another session: ERROR_NO_SYSTEM_RESOURCES, 1450."""

    def __init__(self, action: str) -> None:
        super().__init__(
            f"{action}: the limit of sessions is reached (64 in all, 8 for one provider, 8 system loggers); stop"
            " one that 'logman query -ets' lists"
        )


class SessionGoneError(LiveError):
    """Another program stopped the session."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the session {name} was stopped by another program")


class CallbackError(LiveError):
    """The event callback failed; its exception is chained to this one."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(f"the event callback failed: {cause!r}")


class EventLogError(LiveError):
    """The file for all events cannot be written."""

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(f"the events cannot be written to {path}: {error.strerror}")
