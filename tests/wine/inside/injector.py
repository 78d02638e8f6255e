r"""The test-only device ``\\.\kdetector-wine``: makes the driver's notifications happen.

Layout and codes are those of driver/wine/KDetectorWine.h.
"""

import ctypes
import struct
from ctypes import wintypes

from etwdetect.kdetector import win32

SUBJECT = struct.Struct("<4I")
"""pid, tid, creator pid, creator tid"""


class Injector:
    """An open handle of the device; the calling thread is the creator of what it injects."""

    def __init__(self):
        self._handle = win32.kernel32().CreateFileW(r"\\.\kdetector-wine", 0, 7, None, 3, 0, None)
        assert self._handle != win32.INVALID_HANDLE_VALUE, win32.last_error()

    def close(self):
        """Close the handle; again is allowed."""
        handle, self._handle = self._handle, None
        if handle is not None:
            win32.kernel32().CloseHandle(handle)

    def process_created(self, pid):
        self._send(0, pid)

    def process_exited(self, pid):
        self._send(1, pid)

    def thread_created(self, pid, tid):
        self._send(2, pid, tid)

    def thread_exited(self, pid, tid):
        self._send(3, pid, tid)

    def thread_created_by(self, creator_pid, creator_tid, pid, tid):
        self._send(4, pid, tid, creator_pid, creator_tid)

    def _send(self, number, pid, tid=0, creator_pid=0, creator_tid=0):
        code = 0x80000000 | (0x900 + number) << 2
        subject = SUBJECT.pack(pid, tid, creator_pid, creator_tid)
        sent = win32.kernel32().DeviceIoControl(
            self._handle, code, subject, len(subject), None, 0, ctypes.byref(wintypes.DWORD()), None
        )
        assert sent, win32.last_error()
