"""Image files made by hand, from the layouts of the PE format: winnt.h of the Windows SDK."""

import struct

SECTION_AT, RAW_AT = 0x1000, 0x400
STAMP, SIZE, CHECKSUM = 0x5EB9D9C0, 0x3000, 0x1F8A2B


def export_directory(functions, names=(), ordinal_base=1, at=SECTION_AT, counts=None):
    """IMAGE_EXPORT_DIRECTORY: *functions* are offsets or, for a forwarder, texts; *names* are (name, index)."""
    functions_at = at + 40
    names_at = functions_at + 4 * len(functions)
    ordinals_at = names_at + 4 * len(names)
    text_at = ordinals_at + 2 * len(names)
    texts = b""
    addresses, name_places = [], []
    for function in functions:
        if isinstance(function, str):
            addresses.append(text_at + len(texts))
            texts += function.encode() + b"\0"
        else:
            addresses.append(function)
    for name, _ in names:
        name_places.append(text_at + len(texts))
        texts += name if isinstance(name, bytes) else name.encode() + b"\0"
    of_functions, of_names = counts or (len(functions), len(names))
    return (
        struct.pack("<IIHHII", 0, 0, 0, 0, 0, ordinal_base)
        + struct.pack("<IIIII", of_functions, of_names, functions_at, names_at, ordinals_at)
        + struct.pack(f"<{len(functions)}I", *addresses)
        + struct.pack(f"<{len(names)}I", *name_places)
        + struct.pack(f"<{len(names)}H", *(index for _, index in names))
        + texts
    )


def image(directory=b"", *, bits=64, stamp=STAMP, size=SIZE, checksum=CHECKSUM, sections=1, exports_at=SECTION_AT):
    """A DLL with one section, which has *directory* as its export table."""
    optional_size = 240 if bits == 64 else 224
    head = b"MZ" + bytes(58) + struct.pack("<I", 64)
    head += b"PE\0\0" + struct.pack(
        "<HHIIIHH", 0x8664 if bits == 64 else 0x14C, sections, stamp, 0, 0, optional_size, 0x2022
    )
    optional = struct.pack("<HBBIIIII", 0x20B if bits == 64 else 0x10B, 14, 0, 0, 0, 0, 0, SECTION_AT)
    optional += (
        struct.pack("<QII", 1 << 32, 0x1000, 0x200)
        if bits == 64
        else struct.pack("<IIII", 0, 1 << 28, 0x1000, 0x200)
    )
    optional += struct.pack("<6HIIIIHH", 10, 0, 0, 0, 10, 0, 0, size, RAW_AT, checksum, 3, 0)
    optional += bytes(32 if bits == 64 else 16) + struct.pack("<II", 0, 16)
    optional += struct.pack("<II", exports_at if directory else 0, len(directory))
    section = struct.pack(
        "<8sIIIIIIHHI", b".edata", 0x1000, SECTION_AT, len(directory), RAW_AT, 0, 0, 0, 0, 0x40000040
    )
    return (head + optional.ljust(optional_size, b"\0") + section * min(sections, 1)).ljust(
        RAW_AT, b"\0"
    ) + directory
