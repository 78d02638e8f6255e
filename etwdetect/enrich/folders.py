"""Finds files in a folder by names of Windows: without regard to case, and never outside the folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from etwdetect.core.bounded import BoundedMap

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_MOST_FOLDERS: Final = 64


class FolderListings:
    """The listings of the folders asked for last, each read once."""

    def __init__(self) -> None:
        self._listings: BoundedMap[Path, dict[str, Path]] = BoundedMap(_MOST_FOLDERS)

    def file(self, folder: Path, parts: Iterable[str]) -> Path | None:
        """Return the file of *folder* at *parts*, names in case-folded form; None where there is none.

        Only listed names match, so no path leads out of the folder.
        """
        found: Path | None = folder
        for part in parts:
            found = self._listing(found).get(part) if found else None
        return found if found is not None and may_be_file(found) else None

    def _listing(self, folder: Path) -> dict[str, Path]:
        listing = self._listings.get(folder)
        if listing is None:
            try:
                listing = {each.name.casefold(): each for each in folder.iterdir()}
            except OSError:  # not a folder, or not readable
                listing = {}
            self._listings.put(folder, listing)
        return listing


def may_be_file(path: Path) -> bool:
    """Whether *path* is a file, or is not accessible, which opening it will report."""
    try:
        return path.is_file()
    except OSError:
        return True
