"""The functions that an image file exports, and what its symbol file is called, read with pefile.

Any file may be hostile: whoever can place a DLL on a machine chooses its bytes. So the file is read, not mapped;
tables that pefile would walk for too long are refused first; and any exception from pefile means a damaged file.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

from etwdetect.core.files import read_file

if TYPE_CHECKING:
    from pathlib import Path

    import pefile

MOST_BYTES: Final = 64 << 20
MOST_SECTIONS: Final = 96
"""Windows refuses to load an image with more."""

MOST_EXPORTS: Final = 1 << 16
"""Ordinals have 16 bits."""

_HEADERS: Final = 4096
"""The number of bytes in which the headers of an image must lie."""

_PAGE: Final = 4096
_EXPORTS: Final = 0
_DEBUG: Final = 6
"""The indices of these directories among the data directories of a PE image."""

_DEBUG_ENTRY: Final = Struct("<12xI4xI4x")
"""IMAGE_DEBUG_DIRECTORY of winnt.h, 28 bytes: Type at 12, and at 20 AddressOfRawData, where the data is mapped."""
_MOST_DEBUG_ENTRIES: Final = 32
_CODEVIEW: Final = 2
_RSDS: Final = Struct("<4s16sI")
"""What an entry of the type CODEVIEW refers to: "RSDS", the PDB's GUID and age; then its name, with a NUL."""
_MOST_PDB_NAME: Final = 1024


class BrokenImageError(ValueError):
    """A file is not a readable PE image; the message says why."""


class DebugId(NamedTuple):
    """Names the PDB of an image: its GUID (16 bytes as in the image), its age, and the name of its file."""

    guid: bytes
    age: int
    name: str


class Build(NamedTuple):
    """Identifies one build of a file: time stamp, size in bytes when mapped, checksum; None if unknown."""

    stamp: int | None
    size: int
    checksum: int | None

    def is_known(self) -> bool:
        """Whether this can be compared: some image events have neither time stamp nor checksum."""
        return bool(self.stamp or self.checksum)

    def difference(self, found: Build) -> str | None:
        """Return how the build *found* in a file differs from this one, or None if it is the same."""
        if _pages(self.size) != _pages(found.size):
            return f"its size is {found.size:#x}, not {self.size:#x}"
        if self.stamp and self.stamp != found.stamp:
            return f"its time stamp is {found.stamp:#x}, not {self.stamp:#x}"
        if self.checksum and found.checksum and self.checksum != found.checksum:
            return f"its checksum is {found.checksum:#x}, not {self.checksum:#x}"
        if not self.stamp and not found.checksum:
            return "it has no checksum to compare"
        return None


def _pages(size: int) -> int:
    return -(-size // _PAGE)


def read_build(path: Path) -> Build:
    """Return the build of the file at *path*. Raises BrokenImageError or OSError."""
    image = _parsed(read_file(path, _HEADERS))
    header, optional = image.FILE_HEADER, image.OPTIONAL_HEADER
    return Build(header.TimeDateStamp, optional.SizeOfImage, optional.CheckSum or None)


def read_exports(path: Path) -> dict[int, str]:
    """Return the exported functions of the file at *path* by their offset in the image.

    Forwarded exports are left out. Of several names for one offset the alphabetically first is returned; a
    function without a name is represented by its ordinal, such as ``#12``. Raises OSError or BrokenImageError.
    """
    image = _read(path)
    try:
        return _exports(image)
    except BrokenImageError:
        raise
    except Exception as error:  # pefile raises a dozen types for damaged files
        raise BrokenImageError(f"its export table is damaged: {type(error).__name__}") from error


def read_debug_id(path: Path) -> DebugId | None:
    """Return what the file at *path* says of its PDB, None if nothing. Raises OSError or BrokenImageError."""
    image = _read(path)
    try:
        return _debug_id(image)
    except Exception as error:
        raise BrokenImageError(f"its debug directory is damaged: {type(error).__name__}") from error


def _read(path: Path) -> pefile.PE:
    data = read_file(path, MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise BrokenImageError(f"the file is larger than {MOST_BYTES >> 20} MiB")
    return _parsed(data)


def _parsed(data: bytes) -> pefile.PE:
    import pefile  # noqa: PLC0415 (lazy import: most scans open no image)

    try:
        image = pefile.PE(data=data, fast_load=True, max_symbol_exports=MOST_EXPORTS)
        sections = image.FILE_HEADER.NumberOfSections
        image.OPTIONAL_HEADER.SizeOfImage, image.OPTIONAL_HEADER.CheckSum  # noqa: B018 (raises if the header is truncated)
    except Exception as error:
        raise BrokenImageError("it is no PE image") from error
    if sections > MOST_SECTIONS:
        raise BrokenImageError(f"it has {sections} sections")
    return image


def _exports(image: pefile.PE) -> dict[int, str]:
    directories = image.OPTIONAL_HEADER.DATA_DIRECTORY
    if len(directories) <= _EXPORTS or not directories[_EXPORTS].VirtualAddress:
        return {}
    at = directories[_EXPORTS].VirtualAddress
    # IMAGE_EXPORT_DIRECTORY: NumberOfFunctions at 20, NumberOfNames at 24.
    counts = image.get_dword_at_rva(at + 20), image.get_dword_at_rva(at + 24)
    if any(count is None or count > MOST_EXPORTS for count in counts):
        raise BrokenImageError(f"its export table claims {counts[0]} functions and {counts[1]} names")
    image.parse_data_directories([_EXPORTS])
    table = getattr(image, "DIRECTORY_ENTRY_EXPORT", None)
    if table is None:
        raise BrokenImageError("its export table is damaged")
    exports: dict[int, str] = {}
    for symbol in table.symbols:
        if symbol.forwarder is None and symbol.address:
            name = symbol.name.decode("ascii", "backslashreplace") if symbol.name else f"#{symbol.ordinal}"
            known = exports.get(symbol.address)
            if known is None or (known[0] == "#", known) > (name[0] == "#", name):
                exports[symbol.address] = name
    return exports


def _debug_id(image: pefile.PE) -> DebugId | None:
    directory = image.OPTIONAL_HEADER.DATA_DIRECTORY[_DEBUG]
    count = min(directory.Size // _DEBUG_ENTRY.size, _MOST_DEBUG_ENTRIES)
    entries = image.get_data(directory.VirtualAddress, count * _DEBUG_ENTRY.size) if count else b""
    for kind, at in _DEBUG_ENTRY.iter_unpack(entries):
        data = image.get_data(at, _RSDS.size + _MOST_PDB_NAME) if kind == _CODEVIEW else b""
        if data.startswith(b"RSDS") and len(data) >= _RSDS.size:
            _, guid, age = _RSDS.unpack_from(data)
            return DebugId(guid, age, data[_RSDS.size :].split(b"\0")[0].decode("utf-8", "backslashreplace"))
    return None
