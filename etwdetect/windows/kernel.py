"""The images that the kernel has loaded: its own, and its drivers'."""

from __future__ import annotations

import ctypes
import functools
from ctypes import POINTER, wintypes
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

from etwdetect.windows.libraries import declare, load_library

if TYPE_CHECKING:
    from collections.abc import Iterator

_MODULE: Final = Struct("<16xQI12x256s")
"""RTL_PROCESS_MODULE_INFORMATION on x64, 296 bytes: ImageBase at 16, ImageSize at 24, FullPathName at 40.

A u32, their number, comes before them, padded to 8 bytes. Layout: phnt's ntldr.h, which is not the SDK's.
"""
_COUNT: Final = Struct("<I4x")

_SYSTEM_MODULE_INFORMATION: Final = 11
_LENGTH_MISMATCH: Final = 0xC000_0004  # STATUS_INFO_LENGTH_MISMATCH
_FIRST_SIZE: Final = 1 << 17  # some 440 images; a machine has about 200
_LARGEST: Final = 1 << 22


class KernelImage(NamedTuple):
    r"""An image at *base*, *size* bytes; *path* is such as ``\SystemRoot\system32\ntoskrnl.exe``."""

    base: int
    size: int
    path: str


def images() -> Iterator[KernelImage]:
    """Yield the images that the kernel has loaded now; none where Windows does not tell their addresses.

    From Windows 11 24H2 on, it tells them only to who has enabled SeDebugPrivilege.
    """
    size, needed = _FIRST_SIZE, wintypes.ULONG()
    while size <= _LARGEST:
        answer = ctypes.create_string_buffer(size)
        status = _query()(_SYSTEM_MODULE_INFORMATION, answer, size, ctypes.byref(needed))
        if status == 0:
            yield from read(answer.raw)
        if status != _LENGTH_MISMATCH:
            return
        size = max(2 * size, needed.value)


def read(answer: bytes) -> Iterator[KernelImage]:
    """Yield the images in the *answer* of Windows, RTL_PROCESS_MODULES, but those without an address."""
    (count,) = _COUNT.unpack_from(answer)
    count = min(count, (len(answer) - _COUNT.size) // _MODULE.size)
    for base, size, path in _MODULE.iter_unpack(answer[_COUNT.size :][: count * _MODULE.size]):
        if base:
            yield KernelImage(base, size, path.split(b"\0", 1)[0].decode("ascii", "backslashreplace"))


@functools.cache
def _query() -> ctypes._NamedFuncPointer:
    library = load_library("ntdll", "listing the kernel's images")
    number = wintypes.ULONG
    declare(library, "NtQuerySystemInformation", number, number, ctypes.c_void_p, number, POINTER(number))
    return library.NtQuerySystemInformation
