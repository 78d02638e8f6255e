"""The system libraries, declared: what device.py and service.py call.

ctypes and not pywin32: these are a dozen documented functions, against a wheel of several megabytes that
every user of the package would have to install. psutil can look at services but can't create, start or
stop them.

Everything imports on any system; the first call of a library raises UnsupportedSystemError elsewhere.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from ctypes import POINTER, wintypes
from typing import ClassVar, Final

from etwdetect.core.errors import UnsupportedSystemError

INVALID_HANDLE_VALUE: Final = ctypes.c_void_p(-1).value

ERROR_FILE_NOT_FOUND: Final = 2
ERROR_PATH_NOT_FOUND: Final = 3
ERROR_ACCESS_DENIED: Final = 5
ERROR_SHARING_VIOLATION: Final = 32
ERROR_INVALID_IMAGE_HASH: Final = 577
ERROR_INVALID_SERVICE_CONTROL: Final = 1052
ERROR_SERVICE_ALREADY_RUNNING: Final = 1056
ERROR_SERVICE_DOES_NOT_EXIST: Final = 1060
ERROR_SERVICE_CANNOT_ACCEPT_CTRL: Final = 1061
ERROR_SERVICE_NOT_ACTIVE: Final = 1062
ERROR_SERVICE_MARKED_FOR_DELETE: Final = 1072
ERROR_SERVICE_EXISTS: Final = 1073

_SYSTEM32_ONLY: Final = 0x800  # LOAD_LIBRARY_SEARCH_SYSTEM32: no planted library of the same name


class ServiceStatus(ctypes.Structure):
    """SERVICE_STATUS, 28 bytes."""

    _fields_: ClassVar = [
        ("dwServiceType", wintypes.DWORD),
        ("dwCurrentState", wintypes.DWORD),
        ("dwControlsAccepted", wintypes.DWORD),
        ("dwWin32ExitCode", wintypes.DWORD),
        ("dwServiceSpecificExitCode", wintypes.DWORD),
        ("dwCheckPoint", wintypes.DWORD),
        ("dwWaitHint", wintypes.DWORD),
    ]


@functools.cache
def kernel32() -> ctypes.CDLL:
    """Return kernel32.dll with the prototypes of what is called here."""
    library = load_library("kernel32")
    declare(
        library,
        "CreateFileW",
        wintypes.HANDLE,
        wintypes.LPCWSTR,
        wintypes.DWORD,
        wintypes.DWORD,
        wintypes.LPVOID,
        wintypes.DWORD,
        wintypes.DWORD,
        wintypes.HANDLE,
    )
    declare(
        library,
        "ReadFile",
        wintypes.BOOL,
        wintypes.HANDLE,
        wintypes.LPVOID,
        wintypes.DWORD,
        POINTER(wintypes.DWORD),
        wintypes.LPVOID,
    )
    declare(
        library,
        "DeviceIoControl",
        wintypes.BOOL,
        wintypes.HANDLE,
        wintypes.DWORD,
        wintypes.LPVOID,
        wintypes.DWORD,
        wintypes.LPVOID,
        wintypes.DWORD,
        POINTER(wintypes.DWORD),
        wintypes.LPVOID,
    )
    declare(library, "CloseHandle", wintypes.BOOL, wintypes.HANDLE)
    declare(library, "GetSystemDirectoryW", wintypes.UINT, wintypes.LPWSTR, wintypes.UINT)
    return library


@functools.cache
def advapi32() -> ctypes.CDLL:
    """Return advapi32.dll with the prototypes of the Service Control Manager's functions."""
    library = load_library("advapi32")
    declare(library, "OpenSCManagerW", wintypes.HANDLE, wintypes.LPCWSTR, wintypes.LPCWSTR, wintypes.DWORD)
    declare(library, "OpenServiceW", wintypes.HANDLE, wintypes.HANDLE, wintypes.LPCWSTR, wintypes.DWORD)
    declare(
        library,
        "CreateServiceW",
        wintypes.HANDLE,
        wintypes.HANDLE,
        wintypes.LPCWSTR,
        wintypes.LPCWSTR,
        wintypes.DWORD,
        wintypes.DWORD,
        wintypes.DWORD,
        wintypes.DWORD,
        wintypes.LPCWSTR,
        wintypes.LPCWSTR,
        POINTER(wintypes.DWORD),
        wintypes.LPCWSTR,
        wintypes.LPCWSTR,
        wintypes.LPCWSTR,
    )
    declare(library, "StartServiceW", wintypes.BOOL, wintypes.HANDLE, wintypes.DWORD, POINTER(wintypes.LPCWSTR))
    declare(library, "ControlService", wintypes.BOOL, wintypes.HANDLE, wintypes.DWORD, POINTER(ServiceStatus))
    declare(library, "QueryServiceStatus", wintypes.BOOL, wintypes.HANDLE, POINTER(ServiceStatus))
    declare(library, "DeleteService", wintypes.BOOL, wintypes.HANDLE)
    declare(library, "CloseServiceHandle", wintypes.BOOL, wintypes.HANDLE)
    return library


def last_error() -> int:
    """Return the Win32 error of the last call that failed on this thread."""
    if sys.platform == "win32":
        return ctypes.get_last_error()
    raise _not_windows()


def error_text(code: int) -> str:
    """Return Windows' own words for the Win32 error *code*."""
    if sys.platform == "win32":
        return ctypes.FormatError(code)
    raise _not_windows()


def load_library(name: str) -> ctypes.CDLL:
    """Return the system's library *name*. Raises UnsupportedSystemError elsewhere than on Windows."""
    if sys.platform == "win32":
        return ctypes.WinDLL(f"{name}.dll", use_last_error=True, winmode=_SYSTEM32_ONLY)
    raise _not_windows()


def _not_windows() -> UnsupportedSystemError:
    return UnsupportedSystemError(f"KDetector is a driver for Windows; this system is {sys.platform}")


def declare(library: ctypes.CDLL, name: str, result: type, *arguments: type) -> None:
    """Give the function *name* of *library* its prototype."""
    function = getattr(library, name)
    function.restype = result
    function.argtypes = arguments
