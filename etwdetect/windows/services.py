"""The Service Control Manager, and what installing a driver needs beside it."""

from __future__ import annotations

import ctypes
import functools
import sys
from ctypes import POINTER, wintypes
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from etwdetect.windows.libraries import SystemCallError, declare, last_error, load_library

if TYPE_CHECKING:
    from collections.abc import Mapping


class ServiceStatus(ctypes.Structure):
    """SERVICE_STATUS of winsvc.h, 28 bytes."""

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
def advapi32() -> ctypes.CDLL:
    """Return advapi32.dll with the prototypes of the Service Control Manager's functions."""
    library = load_library("advapi32", "the Service Control Manager")
    handle, dword, flag, text = wintypes.HANDLE, wintypes.DWORD, wintypes.BOOL, wintypes.LPCWSTR
    declare(library, "OpenSCManagerW", handle, text, text, dword)
    declare(library, "OpenServiceW", handle, handle, text, dword)
    declare(
        library, "CreateServiceW", handle,
        handle, text, text, dword, dword, dword, dword, text, text, POINTER(dword), text, text, text,
    )  # fmt: skip
    declare(library, "StartServiceW", flag, handle, dword, POINTER(text))
    declare(library, "ControlService", flag, handle, dword, POINTER(ServiceStatus))
    declare(library, "QueryServiceStatus", flag, handle, POINTER(ServiceStatus))
    declare(library, "DeleteService", flag, handle)
    declare(library, "CloseServiceHandle", flag, handle)
    return library


def system_directory() -> Path:
    """Return the system directory. Raises SystemCallError."""
    library = load_library("kernel32", "the system directory")
    declare(library, "GetSystemDirectoryW", wintypes.UINT, wintypes.LPWSTR, wintypes.UINT)
    buffer = ctypes.create_unicode_buffer(260)
    if not library.GetSystemDirectoryW(buffer, len(buffer)):
        raise SystemCallError("getting the system directory", last_error())
    return Path(buffer.value)


def write_dwords(key_path: str, values: Mapping[str, int | None]) -> None:
    """Set each REG_DWORD of *values* that is not None below HKEY_LOCAL_MACHINE. Raises OSError."""
    if sys.platform == "win32":
        import winreg  # noqa: PLC0415 (exists on Windows only)

        with winreg.CreateKeyEx(winreg.HKEY_LOCAL_MACHINE, key_path, access=winreg.KEY_SET_VALUE) as key:
            for name, value in values.items():
                if value is not None:
                    winreg.SetValueEx(key, name, 0, winreg.REG_DWORD, value)
