"""Finds and opens traces, on this machine or on an object store."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from pyarrow import fs

from etwdetect.core.errors import NotATraceError
from etwdetect.offline.inputs import ENDINGS
from etwdetect.sources.eventdata import SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Iterator


class TraceFile(NamedTuple):
    """A file with a trace, or a .zip with several: size in bytes, time of modification in Unix seconds."""

    path: str
    size: int
    modified: int


def is_called_trace(path: str) -> bool:
    """Whether a file in a folder is taken for a trace, or for an archive: Spark reads SUFFIXES itself."""
    return path.lower().endswith(ENDINGS) and not path.lower().endswith(SUFFIXES)


def list_traces(path: str) -> list[TraceFile]:
    """Return the file at *path*, or all trace files in that folder; NotATraceError where it is missing."""
    infos, prefix, alone = _files_at(path)
    return [
        TraceFile(prefix + each.path, each.size or 0, int((each.mtime_ns or 0) // 1_000_000_000))
        for each in infos
        if alone or is_called_trace(each.path)
    ]


def names_at(path: str) -> list[str]:
    """Return the path of the file, or of all files in the folder; NotATraceError where *path* is missing."""
    return [each.path for each in _files_at(path)[0]]


def exists(path: str) -> bool:
    """Whether there is anything at *path*."""
    files, inner = _system(path)
    return bool(files.get_file_info(inner).type != fs.FileType.NotFound)


def _files_at(path: str) -> tuple[list[fs.FileInfo], str, bool]:
    """Return the files at *path*, the prefix of their paths, and whether *path* itself is the file."""
    files, inner = _system(path)
    prefix = path[: -len(inner)] if path.endswith(inner) else ""
    try:
        info = files.get_file_info(inner)
        if info.type == fs.FileType.NotFound:
            raise NotATraceError(path, "does not exist")
        alone = info.type == fs.FileType.File
        infos = [info] if alone else files.get_file_info(fs.FileSelector(inner, recursive=True))
    except OSError as error:
        raise NotATraceError(path, f"cannot be read: {error}") from error
    return [each for each in infos if each.type == fs.FileType.File], prefix, alone


@contextmanager
def local(path: str) -> Iterator[Path]:
    """Give a file a path on this machine; a remote file is copied for the duration of the context."""
    files, inner = _system(path)
    if isinstance(files, fs.LocalFileSystem):
        yield Path(inner)
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "trace")
        try:
            with files.open_input_stream(inner) as source, copy.open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
        except OSError as error:
            raise NotATraceError(path, f"cannot be read: {error}") from error
        yield copy


def _system(path: str) -> tuple[fs.FileSystem, str]:
    scheme = urlsplit(path).scheme
    if len(scheme) < 2:  # a drive letter is not a scheme
        return fs.LocalFileSystem(), str(Path(path).absolute())
    try:
        files, inner = fs.FileSystem.from_uri(path)
    except (ValueError, OSError) as error:
        raise NotATraceError(path, f"is on a file system that pyarrow does not support: {error}") from error
    return files, inner
