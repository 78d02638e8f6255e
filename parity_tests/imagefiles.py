"""Writes image files for a timeline, so that start addresses can be resolved to function names.

Each is a 64-bit PE image with headers and an export table, and nothing else.
"""

from __future__ import annotations

from struct import pack
from typing import TYPE_CHECKING, Final

from parity_tests import addresses

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

EXPORTED: Final = (
    "kernel32.dll!LoadLibraryA",
    "kernel32.dll!LoadLibraryW",
    "kernelbase.dll!CreateRemoteThreadEx",
    "kernelbase.dll!CtrlRoutine",
    "kernelbase.dll!DebugActiveProcess",
    "ntdll.dll!DbgUiIssueRemoteBreakin",
    "ntdll.dll!DbgUiRemoteBreakin",
    "ntdll.dll!LdrLoadDll",
    "ntdll.dll!NtCreateThreadEx",
    "ntdll.dll!NtSetInformationWorkerFactory",
    "ntdll.dll!RtlCreateUserThread",
)
"""The exported functions of the system images at which timelines start threads, and from which they make them."""

_HEADERS_SIZE: Final = 0x400
_TABLE: Final = addresses.IMAGE_SIZE - 0x1000
"""The offset at which the export table is mapped: after the code."""

_DOS = pack("<2s58xI", b"MZ", 0x40)


def write_images(folder: Path) -> None:
    """Write the system's images to *folder*."""
    for image in addresses.SYSTEM_IMAGES:
        own = sorted(at for at in EXPORTED if at.startswith(f"{image}!"))
        (folder / image).write_bytes(_image(image, own))


def _image(image: str, exported: Iterable[str]) -> bytes:
    """Return the bytes of *image*, after Microsoft's "PE Format"."""
    table = _export_table(image, [(at.partition("!")[2], addresses.offset(at)) for at in exported])
    table = table.ljust(-(-len(table) // 0x200) * 0x200, b"\0")
    stamp, base = addresses.time_stamp(image), addresses.image_base(image)
    machine, optional_size = 0x8664, 240
    file_header = pack("<4s2H3I2H", b"PE\0\0", machine, 1, stamp, 0, 0, optional_size, 0x2022)
    # Magic PE32+, linker 14.0; sizes of code and data; entry point and base of code: none.
    optional = pack("<HBB5I", 0x20B, 14, 0, 0, len(table), 0, 0, 0)
    optional += pack("<Q2I6HI", base, 0x1000, 0x200, 10, 0, 0, 0, 10, 0, 0)
    optional += pack("<3I2H4Q2I", addresses.IMAGE_SIZE, _HEADERS_SIZE, stamp, 3, 0, 0, 0, 0, 0, 0, 16)
    optional += pack("<2I", _TABLE, len(table)).ljust(16 * 8, b"\0")
    section = pack("<8s6I2HI", b".edata", len(table), _TABLE, len(table), _HEADERS_SIZE, 0, 0, 0, 0, 0x4000_0040)
    return (_DOS + file_header + optional + section).ljust(_HEADERS_SIZE, b"\0") + table


def _export_table(image: str, functions: list[tuple[str, int]]) -> bytes:
    """Return an export directory and its tables, mapped at _TABLE; *functions* are sorted by name."""
    count = len(functions)
    addresses_at = _TABLE + 40
    names_at, ordinals_at = addresses_at + 4 * count, addresses_at + 8 * count
    text_at = addresses_at + 10 * count
    text, places = f"{image}\0".encode(), []
    for name, _ in functions:
        places.append(text_at + len(text))
        text += f"{name}\0".encode()
    return b"".join(
        (
            pack("<2I2H7I", 0, 0, 0, 0, text_at, 1, count, count, addresses_at, names_at, ordinals_at),
            pack(f"<{count}I", *(offset for _, offset in functions)),
            pack(f"<{count}I", *places),
            pack(f"<{count}H", *range(count)),
            text,
        )
    )
