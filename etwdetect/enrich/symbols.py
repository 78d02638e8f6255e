"""The functions of images by their symbol files (PDBs), read with purepdb: the extra etwdetect[symbols].

Any file may be hostile. So it is read, not mapped; what purepdb would make many objects of is measured first; and
any exception from purepdb means a damaged file. Layouts: LLVM's documentation of PDB files.
"""

from __future__ import annotations

import re
from itertools import chain, islice
from typing import TYPE_CHECKING, Final
from uuid import UUID

from etwdetect.core.errors import MissingExtraError
from etwdetect.core.files import read_file
from etwdetect.enrich.exports import BrokenImageError, read_debug_id
from etwdetect.enrich.folders import FolderListings

try:
    from purepdb import PDB, MsfFile
    from purepdb.codeview import iter_records
    from purepdb.dbi import DbiStream
except ImportError as error:
    raise MissingExtraError("--symbols", "purepdb", "symbols") from error

if TYPE_CHECKING:
    from pathlib import Path

    from etwdetect.enrich.exports import DebugId

MOST_BYTES: Final = 64 << 20
"""The largest PDB that is read; that of Windows' own kernel has some 14 MiB."""

MOST_FUNCTIONS: Final = 1 << 18
MOST_NAME: Final = 512
"""How many characters of a function's name are kept."""

_DIRECTORY_SIZE_AT: Final = 44
"""In the superblock: the size of the directory in bytes, u32."""
_MOST_DIRECTORY: Final = 1 << 20
_DBI: Final = 3
"""The stream with the modules, and which streams have sections and moved addresses."""
_MOST_DBI: Final = 8 << 20
_MOST_SECTIONS: Final = 1 << 16
"""Of the stream with the headers of sections, in bytes."""
_MOST_MOVED: Final = 8 << 20
"""Of the stream with moved addresses, in bytes."""

_RECORD_KINDS: Final = frozenset((0x110E, 0x110F, 0x1110, 0x1146, 0x1147))
"""S_PUB32, S_LPROC32, S_GPROC32, S_LPROC32_ID and S_GPROC32_ID of cvinfo.h: a public name, and procedures."""

_I386: Final = 0x14C
_DECORATED: Final = re.compile(r"[_@](\w+)@\d+|_(\w+)")
"""The names of C functions in 32-bit images, by their calling conventions."""


class BrokenSymbolsError(ValueError):
    """A file is not the PDB that is wanted, or cannot be used; the message says why."""


class SymbolFiles:
    """The PDBs in *folder*: side by side, or as a symbol store has them (a.pdb, GUID and age, a.pdb).

    `refused` has the reasons why existing files were not used, by their paths; `asked` says whether any was
    searched for, `found` whether any existed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._listings = FolderListings()
        self.refused: dict[str, str] = {}
        self.asked = False
        self.found = False

    def of_image(self, image: Path) -> dict[int, str]:
        """Return the functions of the file *image* by their offset in it: those of its PDB, none without one."""
        self.asked = True
        try:
            wanted = read_debug_id(image)
        except (BrokenImageError, OSError) as error:
            self.refused[str(image)] = f"which PDB the image has cannot be read: {error}"
            return {}
        if wanted is None:
            return {}
        name = re.split(r"[\\/]", wanted.name)[-1].casefold()
        for parts in ((name, f"{UUID(bytes_le=wanted.guid).hex}{wanted.age:x}", name), (name,)):
            path = self._listings.file(self._folder, parts)
            if path is None:
                continue
            self.found = True
            try:
                return read_functions(path, wanted)
            except BrokenSymbolsError as error:
                self.refused[str(path)] = f"the PDB cannot be used: {error}"
            except OSError as error:
                self.refused[str(path)] = f"the PDB cannot be read: {error.strerror}"
        return {}


def read_functions(path: Path, wanted: DebugId) -> dict[int, str]:
    """Return the functions in the PDB at *path* by their offset in the image.

    Of several names for one offset a procedure's comes before a public one, and then the alphabetically first.
    Raises OSError, and BrokenSymbolsError where the file is not *wanted*, or is damaged.
    """
    data = read_file(path, MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise BrokenSymbolsError(f"it is larger than {MOST_BYTES >> 20} MiB")
    try:
        return _functions(_opened(data, wanted))
    except BrokenSymbolsError:
        raise
    except Exception as error:
        raise BrokenSymbolsError(f"it is damaged: {str(error) or type(error).__name__}") from error


def _opened(data: bytes, wanted: DebugId) -> PDB:
    if int.from_bytes(data[_DIRECTORY_SIZE_AT : _DIRECTORY_SIZE_AT + 4], "little") > _MOST_DIRECTORY:
        raise BrokenSymbolsError("its directory is too large")
    msf = MsfFile(data)
    if msf.stream_size(_DBI) > _MOST_DBI:
        raise BrokenSymbolsError("it has too many modules")
    dbi = DbiStream.parse(msf.read_stream(_DBI))
    for stream, most in (
        (dbi.section_header_stream, _MOST_SECTIONS),
        (dbi.original_section_header_stream, _MOST_SECTIONS),
        (dbi.omap_from_src_stream, _MOST_MOVED),
    ):
        if msf.is_valid_stream(stream) and msf.stream_size(stream) > most:
            raise BrokenSymbolsError("its table of sections is too large")
    pdb = PDB(msf)
    info = pdb.info()
    # A tool that adds to a PDB raises the first age; an image has the second one.
    if info.guid != wanted.guid or wanted.age not in {info.age, pdb.dbi.age}:
        raise BrokenSymbolsError("it is of another build of the image")
    return pdb


def _functions(pdb: PDB) -> dict[int, str]:
    modules = [module for module in pdb.dbi.modules if module.has_symbols]
    if len(modules) != len({module.sym_stream for module in modules}):
        raise BrokenSymbolsError("it is damaged: modules share their symbols")
    publics = pdb.dbi.symrecord_stream_index
    streams = chain(
        map(pdb.module_symbol_bytes, modules),
        (pdb.msf.read_stream(each) for each in (publics,) if pdb.msf.is_valid_stream(each)),
    )
    records = chain.from_iterable(iter_records(stream, kinds=_RECORD_KINDS) for stream in streams)
    if next(islice(records, MOST_FUNCTIONS, None), None) is not None:
        raise BrokenSymbolsError(f"it has more than {MOST_FUNCTIONS:,} functions")
    is_32_bit = pdb.dbi.machine == _I386
    functions: dict[int, str] = {}
    for named in (
        [
            (_plain(each.name) if is_32_bit else each.name, each)
            for each in pdb.public_symbols()
            if each.is_function
        ],
        [(each.name, each) for each in pdb.module_procs()],
    ):
        placed = sorted((name[:MOST_NAME], pdb.to_rva(each.segment, each.offset) or 0) for name, each in named)
        functions |= {offset: name for name, offset in reversed(placed) if name and offset}
    return functions


def _plain(name: str) -> str:
    """Return the name of a C function as its source has it."""
    decorated = _DECORATED.fullmatch(name)
    return name if decorated is None else decorated[1] or decorated[2]
