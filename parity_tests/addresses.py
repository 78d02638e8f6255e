"""The addresses in the processes of a timeline: made up, and the same in every run.

The layout is that of 64-bit Windows: each program and DLL has its own base, the same in all processes; private
memory is below them, the kernel above.
"""

from __future__ import annotations

import zlib
from typing import Final

SYSTEM_IMAGES: Final = ("ntdll.dll", "kernel32.dll", "kernelbase.dll")
"""The images that every running process maps besides its program."""

IMAGE_SIZE: Final = 0x20_0000
"""The mapped size of every image, in bytes; the last page holds no code."""

NOWHERE: Final = 0x0000_021F_4E60_0000
"""An address in private memory, outside any image."""

KERNEL: Final = 0xFFFF_F802_16C1_D230

_PROGRAMS: Final = 0x7FF6_0000_0000
_DLLS: Final = 0x7FFC_0000_0000
_CODE: Final = 0x1000
_CALL_SIZE: Final = 0x14
_CODE_END: Final = IMAGE_SIZE - 0x1000


def image_base(image: str) -> int:
    """Return the base address of *image*."""
    start = _DLLS if image.lower().endswith(".dll") else _PROGRAMS
    return start + (zlib.crc32(image.lower().encode()) & 0x3FFF) * IMAGE_SIZE


def start_address(at: str) -> int:
    """Return the address of *at*, which is "image!function", "nowhere" or "kernel"."""
    if at == "nowhere":
        return NOWHERE
    if at == "kernel":
        return KERNEL
    return image_base(at.partition("!")[0]) + offset(at)


def return_address(call: str) -> int:
    """Return where *call*, "image!function" or "nowhere", goes on behind what it calls."""
    return start_address(call) + _CALL_SIZE


def kernel_frames(*, nested: bool) -> tuple[int, ...]:
    """Return the kernel part of a stack that makes a thread: it ends where a system service was entered.

    A *nested* one entered another before it, so that place is in it twice.
    """
    entry = KERNEL + 0x53
    made = KERNEL + 0x3000, KERNEL + 0x2000, entry
    return (*made, KERNEL + 0x1000, entry) if nested else made


def offset(at: str) -> int:
    """Return the offset of "image!function" from the base of its image, in bytes."""
    return _CODE + zlib.crc32(at.encode()) % (_CODE_END - _CODE) // 16 * 16


def time_stamp(image: str) -> int:
    """Return the link time stamp of *image*; its checksum is the same number."""
    return zlib.crc32(image.lower().encode()) | 1


def device_path(image: str) -> str:
    """Return the path of *image* as the kernel names it."""
    return f"\\Device\\HarddiskVolume3\\Windows\\System32\\{image}"
