"""Writes to the Windows event log Application, as a source registered there."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import sys
from ctypes import POINTER, wintypes
from typing import Final

from etwdetect.windows.libraries import declare, last_error, load_library, not_windows

INFORMATION: Final = 4
WARNING: Final = 2

_SUBJECT: Final = "the Windows event log"
_KEY: Final = r"SYSTEM\CurrentControlSet\Services\EventLog\Application"


def open_source(source: str, message_file: str) -> int:
    """Return a handle to report events of *source*; register the source with *message_file* if it is new.

    Without the right to register it, events can be reported all the same. Raises OSError.
    """
    with contextlib.suppress(PermissionError):
        _add_to_registry(source, message_file)
    handle: int | None = _advapi32().RegisterEventSourceW(None, source)
    if handle is None:
        raise _error()
    return handle


def report(handle: int, event_type: int, event_id: int, text: str) -> None:
    """Report one event with the insertion string *text*. Raises OSError."""
    strings = (wintypes.LPCWSTR * 1)(text)
    if not _advapi32().ReportEventW(handle, event_type, 0, event_id, None, 1, 0, strings, None):
        raise _error()


def close_source(handle: int) -> None:
    """Close the handle that `open_source` returned."""
    _advapi32().DeregisterEventSource(handle)


def _add_to_registry(source: str, message_file: str) -> None:
    if sys.platform == "win32":
        import winreg  # noqa: PLC0415 (exists on Windows only)

        path = rf"{_KEY}\{source}"
        with contextlib.suppress(FileNotFoundError), winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, path):
            return
        with winreg.CreateKey(winreg.HKEY_LOCAL_MACHINE, path) as key:
            winreg.SetValueEx(key, "EventMessageFile", 0, winreg.REG_EXPAND_SZ, message_file)
            winreg.SetValueEx(key, "TypesSupported", 0, winreg.REG_DWORD, 7)


def _error() -> OSError:
    code = last_error()
    if sys.platform == "win32":
        return ctypes.WinError(code)
    raise not_windows(_SUBJECT)


@functools.cache
def _advapi32() -> ctypes.CDLL:
    library = load_library("advapi32", _SUBJECT)
    handle, word, dword, pointer = wintypes.HANDLE, wintypes.WORD, wintypes.DWORD, wintypes.LPVOID
    declare(library, "RegisterEventSourceW", handle, wintypes.LPCWSTR, wintypes.LPCWSTR)
    declare(library, "DeregisterEventSource", wintypes.BOOL, handle)
    declare(
        library, "ReportEventW", wintypes.BOOL,
        handle, word, word, dword, pointer, word, dword, POINTER(wintypes.LPCWSTR), pointer,
    )  # fmt: skip
    return library
