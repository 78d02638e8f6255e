"""Makes the sample image files: `python samples/make_images.py [DIRECTORY]`, by default images/ beside this file.

images/ntdll.dll is not Microsoft's: it holds no code, only what tells an image's build, as the sample traces have
it, and an export table. The same bytes come out each time.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import Final

from make import NTDLL_CHECKSUM, NTDLL_SIZE, NTDLL_STAMP, REMOTE_BREAKIN_OFFSET

EXPORTS: Final = {"DbgUiRemoteBreakin": REMOTE_BREAKIN_OFFSET, "RtlUserThreadStart": 0x5CED0}
"""By name, in the alphabet's order, as the table needs them: the offsets."""

_FILE_ALIGNMENT: Final = 0x200
_PAGE: Final = 0x1000
_AMD64: Final = 0x8664
_DLL_OF_64_BITS: Final = 0x2022
_PE32_PLUS: Final = 0x20B
_HEADER_SIZE: Final = 240
"""Of IMAGE_OPTIONAL_HEADER64 with its 16 data directories."""


def export_table(at: int, name: str, exports: dict[str, int]) -> bytes:
    """Return an IMAGE_EXPORT_DIRECTORY for the offset *at* in the image, and all that it points to."""
    functions = at + 40
    names = functions + 4 * len(exports)
    ordinals = names + 4 * len(exports)
    text_at = ordinals + 2 * len(exports)
    texts = [name.encode() + b"\0", *(each.encode() + b"\0" for each in exports)]
    places = [text_at + sum(map(len, texts[:index])) for index in range(len(texts))]
    count = len(exports)
    head = struct.pack("<IIHHIIIIIII", 0, 0, 0, 0, places[0], 1, count, count, functions, names, ordinals)
    tables = struct.pack(f"<{2 * count}I{count}H", *exports.values(), *places[1:], *range(count))
    return head + tables + b"".join(texts)


def section(name: bytes, at: int, size: int, raw_at: int = 0, raw_size: int = 0) -> bytes:
    """Return an IMAGE_SECTION_HEADER, 40 bytes; the file has *raw_size* bytes of it at *raw_at*."""
    return struct.pack("<8sIIIIIIHHI", name, size, at, raw_size, raw_at, 0, 0, 0, 0, 0x40000040)


def image(name: str, stamp: int, size: int, checksum: int, exports: dict[str, int]) -> bytes:
    """Return a PE file of a 64-bit DLL that is *size* bytes long when it is mapped, and much less on disk."""
    exports_at = size - _PAGE
    table = export_table(exports_at, name, exports)
    raw_size = len(table) + -len(table) % _FILE_ALIGNMENT
    dos = b"MZ".ljust(60, b"\0") + struct.pack("<I", 64)
    coff = struct.pack("<4sHHIIIHH", b"PE\0\0", _AMD64, 2, stamp, 0, 0, _HEADER_SIZE, _DLL_OF_64_BITS)
    optional = struct.pack("<HBBIIIII", _PE32_PLUS, 14, 0, 0, raw_size, 0, 0, _PAGE)
    optional += struct.pack("<QII", 0x1_8000_0000, _PAGE, _FILE_ALIGNMENT)
    optional += struct.pack("<6HI", 10, 0, 10, 0, 10, 0, 0)
    optional += struct.pack("<IIIHH", size, _FILE_ALIGNMENT, checksum, 3, 0x4160)
    optional += struct.pack("<4QII", 0x40000, 0x1000, 0x100000, 0x1000, 0, 16)
    optional += struct.pack("<II", exports_at, len(table))
    sections = section(b".text", _PAGE, exports_at - _PAGE)
    sections += section(b".edata", exports_at, _PAGE, _FILE_ALIGNMENT, raw_size)
    head = dos + coff + optional.ljust(_HEADER_SIZE, b"\0") + sections
    return head.ljust(_FILE_ALIGNMENT, b"\0") + table.ljust(raw_size, b"\0")


def main() -> None:
    """Make all sample images."""
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "images"
    directory.mkdir(exist_ok=True)
    data = image("ntdll.dll", NTDLL_STAMP, NTDLL_SIZE, NTDLL_CHECKSUM, EXPORTS)
    (directory / "ntdll.dll").write_bytes(data)


if __name__ == "__main__":
    main()
