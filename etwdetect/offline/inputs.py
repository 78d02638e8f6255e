"""Finds the inputs at a path: traces, also inside .zip and .gz, files of events, saved results, directories.

The content of a file decides what kind of input it is, in `_in_file` and `_in_archive`, never its name.
"""

from __future__ import annotations

import io
import os
import stat
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, NoReturn

from etwdetect.core.errors import NotATraceError, OtherContentError
from etwdetect.results.saved import HEAD, SavedResults, looks_saved
from etwdetect.sources import packed
from etwdetect.sources.etl.reader import Trace
from etwdetect.sources.eventdata import SUFFIXES, is_event_data

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etwdetect.sources.eventdata.trace import EventDataInput


_FILES: Final = (stat.S_IFREG, 0)
"""What may be opened, by `_kind`: opening a pipe would block."""


@dataclass(frozen=True)
class _MaybePacked:
    """One input that was found: its file, and its name in the file if that is a .zip."""

    path: Path
    member: str | None = None

    @property
    def name(self) -> str:
        """The name for messages."""
        return str(self.path) if self.member is None else f"{self.path}!{self.member}"

    def _plain(self, stack: ExitStack) -> tuple[IO[bytes], str | None]:
        """Return the unpacked file, and what went wrong with unpacking it."""
        return packed.plain(stack, self.path, self.name, self.member)


@dataclass(frozen=True)
class Input(_MaybePacked):
    """One trace that was found."""

    @contextmanager
    def open(self) -> Iterator[Trace]:
        """Open the trace; NotATraceError where it can't be read at all."""
        with ExitStack() as stack:
            file, fault = self._plain(stack)
            try:
                trace = Trace(file, self.name)
            except OSError as error:
                raise NotATraceError(self.name, f"cannot be read: {error.strerror}") from error
            if fault:
                trace.damages.add(trace.size, fault)
            yield trace


@dataclass(frozen=True)
class SavedInput(_MaybePacked):
    """Saved results that were found."""

    @contextmanager
    def open(self) -> Iterator[SavedResults]:
        """Open it; NotATraceError where it can't be read at all."""
        with ExitStack() as stack:
            file, fault = self._plain(stack)
            buffered = stack.enter_context(io.BufferedReader(file)) if isinstance(file, io.RawIOBase) else file
            yield SavedResults(buffered, self.name, fault)


@dataclass(frozen=True)
class _UnreadableInput(Input):
    """Something in a directory that can't be read."""

    error: NotATraceError = field(kw_only=True)

    def open(self) -> NoReturn:
        """Raise the error."""
        raise self.error


def find_inputs(path: str | os.PathLike[str]) -> Iterator[Input | EventDataInput]:
    """Yield the traces at *path*, in the order of their names.

    Raises NotATraceError where there is nothing, a directory or an archive without a trace, or saved results.
    """
    only_saved = False
    for found in find_all(path):
        only_saved = isinstance(found, SavedInput)
        if not isinstance(found, SavedInput):
            yield found
    if only_saved:
        raise NotATraceError(str(path), "holds saved results, not events")


def find_all(path: str | os.PathLike[str]) -> Iterator[Input | EventDataInput | SavedInput]:
    """Yield the traces and the saved results at *path*, in the order of their names.

    Of a directory, only the traces: saved results in it are likely to be of those. What can't be read in it is
    yielded too, and raises its error when it is opened. Raises NotATraceError where there is nothing, a directory
    without a trace, or an archive without either.
    """
    path = Path(path)
    if _kind(path) != stat.S_IFDIR:
        yield from _in_file(path)
        return
    unreadable: list[Input] = []
    candidates = sorted(_candidates(path, unreadable))
    yield from unreadable
    found = bool(unreadable)
    for each in candidates:
        try:
            for each_input in _in_file(each):
                if not isinstance(each_input, SavedInput):
                    found = True
                    yield each_input
        except OtherContentError:
            continue  # the user did not name it
        except NotATraceError as error:
            found = True
            yield _UnreadableInput(each, error=error)
    if not found:
        raise NotATraceError(str(path), "is a directory with no trace (.etl, .gz, .zip, .jsonl, .parquet) in it")


def _candidates(folder: Path, unreadable: list[Input]) -> Iterator[Path]:
    """Yield the files below *folder* with names of inputs; add folders that can't be read to *unreadable*."""

    def add(error: OSError) -> None:
        where = Path(error.filename)
        why = NotATraceError(str(where), f"cannot be listed: {error.strerror}")
        unreadable.append(_UnreadableInput(where, error=why))

    for here, _, names in os.walk(folder, onerror=add):
        for name in names:
            file = Path(here, name)
            if name.lower().endswith((".etl", ".etl.gz", ".zip", *SUFFIXES)) and _kind(file) in _FILES:
                yield file


def _kind(path: Path) -> int:
    """Return the type of *path*, such as stat.S_IFREG; 0 where only opening it will tell."""
    try:
        return stat.S_IFMT(path.stat().st_mode)
    except OSError:
        return 0


def _in_file(path: Path) -> Iterator[Input | EventDataInput | SavedInput]:
    if _kind(path) not in _FILES:
        raise NotATraceError(str(path), "is neither a file nor a directory")
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        raise NotATraceError(str(path), f"cannot be opened: {error.strerror}") from error
    if head.startswith(packed.ZIP_MAGIC):
        yield from _in_archive(path)
        return
    if head.startswith(packed.GZIP_MAGIC):
        from etwdetect.sources.archive import head_of_gz  # noqa: PLC0415 (lazy import: fast start-up)

        head = head_of_gz(path, HEAD)
    if looks_saved(head):
        yield SavedInput(path)
    elif is_event_data(head[:4]):
        from etwdetect.sources.eventdata.trace import find_recordings  # noqa: PLC0415 (lazy import: fast start-up)

        yield from find_recordings(path)
    else:
        yield Input(path)


def _in_archive(path: Path) -> Iterator[Input | SavedInput]:
    from etwdetect.sources.archive import heads_in_zip  # noqa: PLC0415

    found: list[Input | SavedInput] = []
    for name, head in heads_in_zip(path, (".json", ".jsonl"), HEAD):
        if name.lower().endswith(".etl"):
            found.append(Input(path, name))
        elif head is not None and looks_saved(head):
            found.append(SavedInput(path, name))
    if not found:
        raise OtherContentError(str(path), "is a .zip with no .etl file and no saved results in it")
    yield from found
