r"""Tells both detectors what was made, where no kernel does: in Wine.

The detector without a driver is told through the stand-in for event tracing (`simetw`), the driver through the
second device that it has in Wine, ``\\.\kdetector-wine`` (driver/wine/KDetectorWine.h). Both take the calling
thread for the creator, so whoever made something tells of it, on the thread that did.
"""

from __future__ import annotations

import ctypes
import os
import struct
import threading
from ctypes import wintypes
from pathlib import Path
from typing import TYPE_CHECKING, Final

from etwdetect.decode.encode import encode
from etwdetect.events import ProcessStart, ProcessStop, ThreadStart, ThreadStop
from etwdetect.kdetector import win32
from etwdetect.parity.simetw import SimEtw
from etwdetect.parity.simevents import NOW

if TYPE_CHECKING:
    from etwdetect.events import Event
    from etwdetect.parity.windows.api import Started

_CHECKOUT: Final = Path(__file__).resolve().parents[3]
SIMETW: Final = _CHECKOUT / "build" / "simetw" / "simetw.dll"
DRIVER: Final = _CHECKOUT / "build" / "driver" / "wine" / "KDetector.sys"

_DEVICE: Final = r"\\.\kdetector-wine"
_SHARE_ALL: Final = 7
_OPEN_EXISTING: Final = 3
_SUBJECT: Final = struct.Struct("<II8x")
"""KDW_SUBJECT, 16 bytes: process and thread id; and a creator to be named, which is not needed here."""

_PROCESS_CREATED: Final = 0
_PROCESS_EXITED: Final = 1
_THREAD_CREATED: Final = 2
_THREAD_EXITED: Final = 3


class Teller:
    """Tells of what the calling thread did. Raises OSError where there is nobody to tell."""

    def __init__(self) -> None:
        self._machine = SimEtw(SIMETW)

    def process_created(self, started: Started, command: str, parent: int | None) -> None:
        """Tell that this thread made a process."""
        creator = os.getpid(), threading.get_native_id()
        self._tell(
            ProcessStart(NOW, *creator, started.pid, parent or creator[0], image=command),
            _PROCESS_CREATED,
            started.pid,
        )

    def process_exited(self, pid: int) -> None:
        """Tell that a process is gone."""
        self._tell(ProcessStop(NOW, pid), _PROCESS_EXITED, pid)

    def thread_created(self, pid: int, tid: int) -> None:
        """Tell that this thread made one."""
        creator = os.getpid(), threading.get_native_id()
        self._tell(ThreadStart(NOW, *creator, pid, tid), _THREAD_CREATED, pid, tid)

    def thread_exited(self, pid: int, tid: int) -> None:
        """Tell that a thread is gone."""
        self._tell(ThreadStop(NOW, pid, tid), _THREAD_EXITED, pid, tid)

    def _tell(self, event: Event, number: int, pid: int, tid: int = 0) -> None:
        self._machine.log([encode(event)])
        _notify(number, pid, tid)


def _notify(number: int, pid: int, tid: int) -> None:
    # Opened for each call: an open handle would outlive the driver, which is loaded anew for some scenarios.
    api = win32.kernel32()
    handle = api.CreateFileW(_DEVICE, 0, _SHARE_ALL, None, _OPEN_EXISTING, 0, None)
    if handle == win32.INVALID_HANDLE_VALUE:
        raise OSError(0, f"{_DEVICE}: {win32.error_text(win32.last_error())}")
    code = 0x8000_0000 | (0x900 + number) << 2
    subject, size = _SUBJECT.pack(pid, tid), wintypes.DWORD()
    try:
        if not api.DeviceIoControl(handle, code, subject, len(subject), None, 0, ctypes.byref(size), None):
            raise OSError(0, f"{_DEVICE}: {win32.error_text(win32.last_error())}")
    finally:
        api.CloseHandle(handle)
