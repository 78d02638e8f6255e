"""Finds the image file of a module by its path and build, in a copy of a system folder or on this machine."""

from __future__ import annotations

import re
from bisect import bisect_right
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from etwdetect.core.bounded import BoundedMap
from etwdetect.enrich.absent import NO_EXPORT
from etwdetect.enrich.exports import BrokenImageError, Build, read_build, read_exports
from etwdetect.enrich.folders import FolderListings, may_be_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etwdetect.enrich.modules import Module
    from etwdetect.enrich.symbols import SymbolFiles

_MOST_IMAGES: Final = 128
_LONGEST_TAIL: Final = 3
r"""The most parts of a path to search for: in ``C:\Windows\SysWOW64\ntdll.dll``, all but the drive."""

_NO_FILE: Final = "no file"

_ON_A_DRIVE: Final = re.compile(r"[A-Za-z]:\\")
_SYSTEM_FOLDERS: Final = ("system32", "syswow64", "sychpe32", "sysarm32")


class _Functions(NamedTuple):
    """The functions that an image exports, and all that are known, by offset; the offsets of all in order."""

    exports: dict[int, str]
    known: dict[int, str]
    offsets: list[int]


Exports = _Functions | str
"""The functions of an image, or the reason why they are unknown."""


class ImageFiles:
    r"""Image files in *folder*; if that is None, on this machine at the paths of their modules.

    *folder* is a copy of ``C:\Windows`` or of its ``System32``, or holds the files of both without subfolders;
    names are case-insensitive. Next to a System32, its ``SysWOW64`` is searched too. A file is opened once, on the
    first query for a function in it, and used only if its build is that of the module. *symbols* are the PDBs that
    name functions which an image does not export.

    `refused` has the reasons why existing files were not used, by the paths of their modules; `asked` says whether
    any file was searched for, `found` whether any existed.
    """

    def __init__(self, folder: Path | None, symbols: SymbolFiles | None = None) -> None:
        self._folder = folder
        self.symbols = symbols
        self._images: BoundedMap[tuple[str, Build], Exports] = BoundedMap(_MOST_IMAGES)
        self._listings = FolderListings()
        self.refused: dict[str, str] = {}
        self.asked = False
        self.found = False

    def function_at(self, path: str, module: Module, offset: int) -> tuple[str | None, str | None]:
        """Return the function that *module*, at *path*, exports at *offset*, or None and the reason."""
        functions = self._of(path, module)
        if isinstance(functions, str):
            return None, functions
        function = functions.exports.get(offset)
        return function, None if function else NO_EXPORT

    def function_below(self, path: str, module: Module, offset: int) -> tuple[str, int] | None:
        """Return the last known function of *module*, at *path*, that begins up to *offset*, and its offset."""
        functions = self._of(path, module)
        if isinstance(functions, str):
            return None
        at = bisect_right(functions.offsets, offset) - 1
        return (functions.known[functions.offsets[at]], functions.offsets[at]) if at >= 0 else None

    def _of(self, path: str, module: Module) -> Exports:
        build = Build(module.stamp, module.size, module.checksum)
        if not build.is_known():
            return "which build the image is, is not told"
        key = path.casefold(), build
        exports = self._images.get(key)
        if exports is None:
            exports = self._exports(path, build)
        self._images.put(key, exports)
        return exports

    def _exports(self, path: str, build: Build) -> Exports:
        """Return the functions in the first file for *path* that has the right build."""
        why = _NO_FILE
        self.asked = True
        for file in self._files(path):
            self.found = True
            try:
                difference = build.difference(read_build(file))
                if difference is None:
                    exports = read_exports(file)
                    known = (self.symbols.of_image(file) if self.symbols else {}) | exports
                    return _Functions(exports, known, sorted(known))
                why = f"the file is of another build: {difference}"
            except BrokenImageError as error:
                why = f"the file cannot be used: {error}"
            except OSError as error:
                why = f"the file cannot be read: {error.strerror}"
        if why != _NO_FILE and len(self.refused) < _MOST_IMAGES:
            self.refused[path] = why
        return why

    def _files(self, path: str) -> Iterator[Path]:
        if self._folder is None:
            # Only a file on a drive: a path can also refer to a device, or to a server that an attacker chose.
            if _ON_A_DRIVE.match(path) and may_be_file(Path(path)):
                yield Path(path)
            return
        parts = path.casefold().split("\\")
        for length in range(min(_LONGEST_TAIL, len(parts)), 0, -1):
            roots = [self._folder]
            if length > 1 and self._folder.name.casefold() in _SYSTEM_FOLDERS:
                roots.append(self._folder.parent)
            for root in roots:
                found = self._listings.file(root, parts[-length:])
                if found is not None:
                    yield found
