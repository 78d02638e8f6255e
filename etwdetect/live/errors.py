"""The errors of live sessions; each message is one sentence that a user can act on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from etwdetect.core.errors import EtwDetectError, NotElevatedError
from etwdetect.windows import accounts, libraries
from etwdetect.windows.libraries import SystemCallError

if TYPE_CHECKING:
    from pathlib import Path

_REMEDIES: Final = {
    libraries.ERROR_PATH_NOT_FOUND: (
        "a folder of the trace file's path does not exist, or the path is too long; choose another path"
    ),
    libraries.ERROR_ACCESS_DENIED: (
        "this process is elevated, so another program refuses it, such as an endpoint product or an anti-cheat"
        " driver; ask its administrator, or try without it"
    ),
    libraries.ERROR_INVALID_PARAMETER: (
        "this Windows does not support a setting of the session; a system logger with its own name needs Windows 8"
        " or later"
    ),
    libraries.ERROR_ALREADY_EXISTS: (
        "a session of this name exists, perhaps one that was stopped a moment ago; try again, or stop it with"
        " 'logman stop NAME -ets'"
    ),
    libraries.ERROR_INVALID_IMAGE_HASH: (
        "Windows does not trust the signature of a driver or program; on a test machine allow test-signed ones"
        " with 'bcdedit /set testsigning on' and restart, elsewhere use one that is signed for release"
    ),
    libraries.ERROR_DRIVER_BLOCKED: (
        "Windows blocks the driver; look under Windows Security, Device security, Core isolation, whether memory"
        " integrity or the list of vulnerable drivers is the reason"
    ),
    libraries.ERROR_SYSTEM_INTEGRITY_POLICY_VIOLATION: (
        "Smart App Control or another application control policy blocks a file; allow it there, or ask who manages"
        " this machine"
    ),
}
"""What to do about an error, by its Win32 code."""


class LiveError(EtwDetectError):
    """A session cannot do what was requested."""


class NoSessionLeftError(LiveError):
    """Windows cannot start another session: ERROR_NO_SYSTEM_RESOURCES, 1450."""

    def __init__(self, action: str) -> None:
        super().__init__(
            f"{action}: the limit of sessions is reached (64 in all, 8 for one provider, 8 system loggers); stop"
            " one that 'logman query -ets' lists (1450)"
        )


class RefusedError(SystemCallError, LiveError):
    """Windows refused a call of event tracing, for a reason that a user can do something about."""


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


def failure(action: str, code: int, name: str = "") -> EtwDetectError:
    """Return the exception for the Win32 error *code* of an *action* on the session *name*.

    Error 5 means "not elevated" only where this process is not: other programs refuse an administrator too.
    """
    if code == libraries.ERROR_ACCESS_DENIED and not accounts.is_elevated():
        return NotElevatedError(action)
    if code == libraries.ERROR_NO_SYSTEM_RESOURCES:
        return NoSessionLeftError(action)
    if code == libraries.ERROR_WMI_INSTANCE_NOT_FOUND:
        return SessionGoneError(name)
    remedy = _REMEDIES.get(code)
    return SystemCallError(action, code) if remedy is None else RefusedError(action, code, remedy)
