"""Finds the image file of a module, by its name and build, in a copy of a system folder or on this machine."""

from __future__ import annotations

import re
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from etwdetect.enrich.absent import NO_EXPORT
from etwdetect.enrich.exports import BrokenImageError, Build, read_build, read_exports

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etwdetect.enrich.modules import Module

_MOST_IMAGES: Final = 128
_MOST_FOLDERS: Final = 64
_LONGEST_TAIL: Final = 3
r"""How many parts of a path are looked for: in ``C:\Windows\SysWOW64\ntdll.dll``, all but the drive."""

_NO_FILE: Final = "no file"

_ON_A_DRIVE: Final = re.compile(r"[A-Za-z]:\\")
_SYSTEM_FOLDERS: Final = ("system32", "syswow64")

Exports = dict[int, str] | str
"""The functions of an image by their offset, or why they can't be had."""


class ImageFiles:
    r"""Image files in *folder*, or, where that is None, where their paths say, on this machine.

    *folder* is a copy of ``C:\Windows`` or of ``System32`` in it, or holds the files of both without folders;
    case does not matter. With System32 a ``SysWOW64`` beside it is looked into. A file is opened when the first
    function in it is asked for, and only once; it is taken only if its build is the module's.

    `refused` says why files that are there were not taken, by the paths of their modules, and `found` whether any
    file was there for those that were `asked` for.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._images: OrderedDict[tuple[str, Build], Exports] = OrderedDict()
        self._listings: OrderedDict[Path, dict[str, Path]] = OrderedDict()
        self.refused: dict[str, str] = {}
        self.asked = False
        self.found = False

    def function_at(self, path: str, module: Module, offset: int) -> tuple[str | None, str | None]:
        """Return the function that *module*, whose *path* this is, exports from *offset*; else None, and why."""
        build = Build(module.stamp, module.size, module.checksum)
        if not build.is_told():
            return None, "which build the image is, is not told"
        key = path.casefold(), build
        if key not in self._images:
            self._images[key] = self._exports(path, build)
        self._images.move_to_end(key)
        if len(self._images) > _MOST_IMAGES:
            self._images.popitem(last=False)
        exports = self._images[key]
        if isinstance(exports, str):
            return None, exports
        function = exports.get(offset)
        return function, None if function else NO_EXPORT

    def _exports(self, path: str, build: Build) -> Exports:
        """Return the functions in the first file for *path* that is of the right build."""
        why = _NO_FILE
        self.asked = True
        for file in self._files(path):
            self.found = True
            try:
                difference = build.difference(read_build(file))
                if difference is None:
                    return read_exports(file)
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
            # Nothing but a file on a drive: a path can also name a device, or a server of an attacker's choice.
            if _ON_A_DRIVE.match(path) and _may_be_file(Path(path)):
                yield Path(path)
            return
        parts = path.casefold().split("\\")
        for length in range(min(_LONGEST_TAIL, len(parts)), 0, -1):
            roots = [self._folder]
            if length > 1 and self._folder.name.casefold() in _SYSTEM_FOLDERS:
                roots.append(self._folder.parent)
            for root in roots:
                found = self._find(root, parts[-length:])
                if found is not None and _may_be_file(found):
                    yield found

    def _find(self, folder: Path, parts: list[str]) -> Path | None:
        """Return what *folder* has by the names *parts*: only what it lists, so no name leads out of it."""
        found: Path | None = folder
        for part in parts:
            found = self._listing(found).get(part) if found else None
        return found

    def _listing(self, folder: Path) -> dict[str, Path]:
        if folder not in self._listings:
            try:
                found = {each.name.casefold(): each for each in folder.iterdir()}
            except OSError:  # it is no folder, or none that may be read
                found = {}
            self._listings[folder] = found
            if len(self._listings) > _MOST_FOLDERS:
                self._listings.popitem(last=False)
        return self._listings[folder]


def _may_be_file(path: Path) -> bool:
    """Whether *path* is a file, or one that nobody may look at, as opening it will say."""
    try:
        return path.is_file()
    except OSError:
        return True
