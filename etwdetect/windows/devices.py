"""Opens, reads and controls devices."""

from __future__ import annotations

import ctypes
import functools
from ctypes import POINTER, wintypes

from etwdetect.windows.libraries import declare, load_library


@functools.cache
def kernel32() -> ctypes.CDLL:
    """Return kernel32.dll with the prototypes of its functions for device I/O."""
    library = load_library("kernel32", "device I/O")
    handle, dword, pointer = wintypes.HANDLE, wintypes.DWORD, wintypes.LPVOID
    declare(library, "CreateFileW", handle, wintypes.LPCWSTR, dword, dword, pointer, dword, dword, handle)
    declare(library, "ReadFile", wintypes.BOOL, handle, pointer, dword, POINTER(dword), pointer)
    declare(
        library, "DeviceIoControl", wintypes.BOOL,
        handle, dword, pointer, dword, pointer, dword, POINTER(dword), pointer,
    )  # fmt: skip
    declare(library, "CloseHandle", wintypes.BOOL, handle)
    return library
