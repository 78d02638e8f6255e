"""Where things lie in the processes of a story: made-up addresses, the same in every run.

The layout is that of 64-bit Windows: programs and DLLs each at a base of their own, the same in all processes;
private memory below them; the kernel above.
"""

from __future__ import annotations

import zlib
from typing import Final

SYSTEM_IMAGES: Final = ("ntdll.dll", "kernel32.dll", "kernelbase.dll")
"""What every running program has mapped besides itself."""

IMAGE_SIZE: Final = 0x20_0000
"""Of every image, in bytes when mapped; its last page has no code."""

NOWHERE: Final = 0x0000_021F_4E60_0000
"""Private memory, in no image."""

KERNEL: Final = 0xFFFF_F802_16C1_D230

_PROGRAMS: Final = 0x7FF6_0000_0000
_DLLS: Final = 0x7FFC_0000_0000
_CODE: Final = 0x1000
_CODE_END: Final = IMAGE_SIZE - 0x1000


def image_base(image: str) -> int:
    """Return where *image* is mapped."""
    start = _DLLS if image.lower().endswith(".dll") else _PROGRAMS
    return start + (zlib.crc32(image.lower().encode()) & 0x3FFF) * IMAGE_SIZE


def start_address(at: str) -> int:
    """Return the address that *at* stands for: "image!function", "nowhere" or "kernel"."""
    if at == "nowhere":
        return NOWHERE
    if at == "kernel":
        return KERNEL
    return image_base(at.partition("!")[0]) + offset(at)


def offset(at: str) -> int:
    """Return where in its image "image!function" begins, in bytes."""
    return _CODE + zlib.crc32(at.encode()) % (_CODE_END - _CODE) // 16 * 16


def time_stamp(image: str) -> int:
    """Return the time stamp of the build of *image*, which is its checksum too."""
    return zlib.crc32(image.lower().encode()) | 1


def device_path(image: str) -> str:
    """Return the path of *image* as the kernel names it."""
    return f"\\Device\\HarddiskVolume3\\Windows\\System32\\{image}"
