"""A .zip whose bytes depend on its content alone."""

from __future__ import annotations

import hashlib
import io
import zipfile
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_MOMENT: Final = (1980, 1, 1, 0, 0, 0)
"""The earliest that a .zip can say; the true times are those of one build or another."""

_WINDOWS: Final = 0
"""The system that entries are said to come from; otherwise it is the one that the .zip was made on."""


def zip_bytes(files: Mapping[str, bytes], folder: str = "") -> bytes:
    """Return a .zip with *files*, by their names with ``/``, all in *folder* where that is named."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(f"{folder}/{name}" if folder else name, _MOMENT)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = _WINDOWS
            archive.writestr(entry, files[name])
    return stream.getvalue()


def write_zip(path: Path, folder: str, files: Mapping[str, bytes]) -> str:
    """Write *files* in *folder* into a .zip at *path*, all or nothing; return its SHA-256.

    The file beside it, with .sha256, has that too, as `sha256sum -c` reads it.
    """
    content = zip_bytes(files, folder)
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_bytes(content)
    unfinished.replace(path)
    digest = hashlib.sha256(content).hexdigest()
    path.with_name(path.name + ".sha256").write_bytes(f"{digest} *{path.name}\n".encode())
    return digest
