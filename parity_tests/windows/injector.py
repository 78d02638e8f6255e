r"""The driver's second device, in Wine only: requests to ``\\.\kdetector-wine`` call its notification routines.

Layout and codes are those of driver/wine/KDetectorWine.h.
"""

from __future__ import annotations

import ctypes
import struct
from ctypes import wintypes
from typing import Final, NoReturn

from etwdetect.windows import libraries
from etwdetect.windows.devices import kernel32

_PATH: Final = r"\\.\kdetector-wine"
_SHARE_ALL: Final = 7
_OPEN_EXISTING: Final = 3
_SUBJECT: Final = struct.Struct("<4I")
"""KDW_SUBJECT, 16 bytes: process and thread id, then those of the creator if the request names one."""


def is_lab() -> bool:
    """Return whether the loaded driver is the lab's, whose second device this is: no other Windows has it."""
    try:
        Injector().close()
    except OSError:
        return False
    return True


class Injector:
    """An open handle of the device; the calling thread is the creator in its notifications.

    Raises OSError if the device does not exist or the driver is not loaded.
    """

    def __init__(self) -> None:
        self._handle: int | None = None
        handle = kernel32().CreateFileW(_PATH, 0, _SHARE_ALL, None, _OPEN_EXISTING, 0, None)
        if handle == libraries.INVALID_HANDLE_VALUE:
            _fail()
        self._handle = handle

    def close(self) -> None:
        """Close the handle; more than once is allowed."""
        handle, self._handle = self._handle, None
        if handle is not None:
            kernel32().CloseHandle(handle)

    def process_created(self, pid: int) -> None:
        """Notify the driver of a new process."""
        self._send(0, pid)

    def process_exited(self, pid: int) -> None:
        """Notify the driver that a process has exited."""
        self._send(1, pid)

    def thread_created(self, pid: int, tid: int) -> None:
        """Notify the driver of a new thread."""
        self._send(2, pid, tid)

    def thread_exited(self, pid: int, tid: int) -> None:
        """Notify the driver that a thread has exited."""
        self._send(3, pid, tid)

    def thread_created_by(self, creator_pid: int, creator_tid: int, pid: int, tid: int) -> None:
        """Notify the driver of a new thread with another creator than the calling thread."""
        self._send(4, pid, tid, creator_pid, creator_tid)

    def _send(self, number: int, *subject: int) -> None:
        code = 0x8000_0000 | (0x900 + number) << 2
        packed, size = _SUBJECT.pack(*subject, *[0] * (4 - len(subject))), wintypes.DWORD()
        api = kernel32()
        if not api.DeviceIoControl(self._handle, code, packed, len(packed), None, 0, ctypes.byref(size), None):
            _fail()


def _fail() -> NoReturn:
    raise OSError(0, f"{_PATH}: {libraries.error_text(libraries.last_error())}")
