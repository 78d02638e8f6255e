"""Loads the system libraries, and reports the errors of their functions."""

from __future__ import annotations

import ctypes
import sys
from typing import Final

from etwdetect.core.errors import EtwDetectError, UnsupportedSystemError

INVALID_HANDLE_VALUE: Final = ctypes.c_void_p(-1).value

ERROR_FILE_NOT_FOUND: Final = 2
ERROR_PATH_NOT_FOUND: Final = 3
ERROR_ACCESS_DENIED: Final = 5
ERROR_SHARING_VIOLATION: Final = 32
ERROR_INVALID_PARAMETER: Final = 87
ERROR_NOT_SUPPORTED: Final = 50
ERROR_INSUFFICIENT_BUFFER: Final = 122
ERROR_ALREADY_EXISTS: Final = 183
ERROR_MORE_DATA: Final = 234
ERROR_INVALID_IMAGE_HASH: Final = 577
ERROR_INVALID_SERVICE_CONTROL: Final = 1052
ERROR_SERVICE_REQUEST_TIMEOUT: Final = 1053
ERROR_SERVICE_ALREADY_RUNNING: Final = 1056
ERROR_SERVICE_DOES_NOT_EXIST: Final = 1060
ERROR_SERVICE_CANNOT_ACCEPT_CTRL: Final = 1061
ERROR_SERVICE_NOT_ACTIVE: Final = 1062
ERROR_SERVICE_MARKED_FOR_DELETE: Final = 1072
ERROR_SERVICE_EXISTS: Final = 1073
ERROR_CANCELLED: Final = 1223
ERROR_DRIVER_BLOCKED: Final = 1275
ERROR_NOT_ALL_ASSIGNED: Final = 1300
ERROR_NO_SYSTEM_RESOURCES: Final = 1450
ERROR_WMI_GUID_NOT_FOUND: Final = 4200
ERROR_WMI_INSTANCE_NOT_FOUND: Final = 4201
ERROR_SYSTEM_INTEGRITY_POLICY_VIOLATION: Final = 4551

_SYSTEM32_ONLY: Final = 0x800  # LOAD_LIBRARY_SEARCH_SYSTEM32: ignore a planted library of the same name


class SystemCallError(EtwDetectError):
    """A Windows function failed with an error that has no class of its own; *code* is the Win32 error.

    *remedy* says what to do about it.
    """

    def __init__(self, action: str, code: int, remedy: str | None = None) -> None:
        self.code = code
        what = f"{action}: {error_text(code)} ({code})"
        super().__init__(what if remedy is None else f"{what}; {remedy}")


def require_windows(subject: str) -> None:
    """Raise UnsupportedSystemError, saying that *subject* requires Windows, on any other system."""
    if sys.platform != "win32":
        raise not_windows(subject)


def not_windows(subject: str) -> UnsupportedSystemError:
    """Return the error that says that *subject* requires Windows."""
    return UnsupportedSystemError(f"{subject} requires Windows; this system is {sys.platform}")


def load_library(name: str, subject: str) -> ctypes.CDLL:
    """Return a new object for the system library *name*, whose prototypes are its own.

    Raises UnsupportedSystemError, as `require_windows` does.
    """
    if sys.platform == "win32":
        return ctypes.WinDLL(f"{name}.dll", use_last_error=True, winmode=_SYSTEM32_ONLY)
    raise not_windows(subject)


def declare(library: ctypes.CDLL, name: str, result: type | None, *arguments: type) -> None:
    """Set the prototype of the function *name* of *library*."""
    function = getattr(library, name)
    function.restype = result
    function.argtypes = arguments


def last_error() -> int:
    """Return the Win32 error of the last failed call on this thread."""
    if sys.platform == "win32":
        return ctypes.get_last_error()
    raise not_windows("a Win32 error code")


def error_text(code: int) -> str:
    """Return the system's message for the Win32 error *code*, without its final period."""
    if sys.platform == "win32":
        return ctypes.FormatError(code).strip().rstrip(".")
    raise not_windows("a Win32 error message")
