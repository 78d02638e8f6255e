"""Drive letters and the devices they are mapped to, and how long a path may be."""

from __future__ import annotations

import ctypes
import functools
from ctypes import wintypes
from typing import TYPE_CHECKING, Final, NamedTuple

from etwdetect.windows.libraries import declare, load_library

if TYPE_CHECKING:
    from collections.abc import Iterator

_LONGEST_PATH: Final = 32_768

USUAL_LONGEST_PATH: Final = 259
"""The most UTF-16 code units in a path, unless this Windows has long paths enabled."""


class Drive(NamedTuple):
    r"""A drive: its *root* such as ``C:\`` and its *device* such as ``\Device\HarddiskVolume3\``."""

    root: str
    device: str


def drives() -> Iterator[Drive]:
    """Yield the drives of this machine. Raises UnsupportedSystemError elsewhere than on Windows."""
    kernel32 = _kernel32()
    letters, device = ctypes.create_unicode_buffer(_LONGEST_PATH), ctypes.create_unicode_buffer(_LONGEST_PATH)
    count = kernel32.GetLogicalDriveStringsW(len(letters), letters)
    for root in ctypes.wstring_at(letters, count).split("\0"):
        if root and kernel32.QueryDosDeviceW(root.rstrip("\\"), device, len(device)):
            yield Drive(root, device.value + "\\")


def takes_long_paths() -> bool:
    """Whether a path may be longer than USUAL_LONGEST_PATH in this process."""
    enabled = getattr(load_library("ntdll", "long paths"), "RtlAreLongPathsEnabled", None)
    if enabled is None:  # before Windows 10 1607
        return False
    enabled.restype = ctypes.c_ubyte
    return bool(enabled())


@functools.cache
def _kernel32() -> ctypes.CDLL:
    library = load_library("kernel32", "listing drive letters")
    dword, text = wintypes.DWORD, wintypes.LPWSTR
    declare(library, "GetLogicalDriveStringsW", dword, dword, text)
    declare(library, "QueryDosDeviceW", dword, wintypes.LPCWSTR, text, dword)
    return library
