"""Finds the inputs at a path: traces, also packed and in archives, files of events, saved results, directories.

The content of a file decides what kind of input it is, in `_in_place`, never its name. But in directories and
archives only what is called like an input is looked at.
"""

from __future__ import annotations

import io
import os
import stat
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, NoReturn

from etwdetect.core.budget import current
from etwdetect.core.errors import NotATraceError, OtherContentError
from etwdetect.results.saved import HEAD, SavedResults, looks_saved
from etwdetect.sources.etl.buffers import HEADER_SIZE, parse
from etwdetect.sources.etl.reader import Trace
from etwdetect.sources.eventdata import SUFFIXES, is_event_data
from etwdetect.sources.packed import Place, archive_kind, refusal, stream_kind
from etwdetect.sources.sysmon import is_of_sysmon, recording_form

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etwdetect.enrich.kinds import Kinds
    from etwdetect.offline.sysmon import SysmonRecording
    from etwdetect.sources.eventdata.trace import EventDataInput
    from etwdetect.sources.sysmon import RecordingForm

PACKED_ENDINGS: Final = (
    *(".gz", ".xz", ".bz2", ".zst"),
    *(".zip", ".tar", ".tgz", ".txz", ".tbz", ".tbz2", ".tzst"),
    *(".7z", ".rar", ".cab", ".lz4", ".z"),  # told, not read
)
"""How the names of what is packed end, in lower case."""

ENDINGS: Final = (".etl", ".evtx", *SUFFIXES, *PACKED_ENDINGS)
"""How the names of what is looked at in a directory end, in lower case."""

STANDARD_INPUT: Final = Path("-")

_PLAIN_TRACE: Final = ".etl"
_IN_ARCHIVES: Final = (*ENDINGS, ".json", ".xml")
_NO_FILE: Final = "is neither a file nor a directory"
_FILES: Final = (stat.S_IFREG, 0)
"""What may be opened, by `_kind`: opening a pipe would block."""


@dataclass(frozen=True, slots=True)
class _Found:
    """One input, at its place."""

    place: Place

    @property
    def path(self) -> Path:
        """The file that it is in."""
        return self.place.path

    @property
    def name(self) -> str:
        """The name for messages."""
        return self.place.name

    def _buffered(self, stack: ExitStack) -> tuple[IO[bytes], str | None]:
        """Open it for reading small pieces, until *stack* is left; return what went wrong with unpacking, too."""
        file, fault = self.place.open(stack)
        return (stack.enter_context(io.BufferedReader(file)) if isinstance(file, io.RawIOBase) else file), fault


@dataclass(frozen=True, slots=True)
class Input(_Found):
    """One trace that was found."""

    @contextmanager
    def open(self) -> Iterator[Trace]:
        """Open the trace; NotATraceError where it can't be read at all."""
        with ExitStack() as stack:
            file, fault = self.place.open(stack)
            try:
                trace = Trace(file, self.name)
            except OSError as error:
                raise NotATraceError(self.name, f"cannot be read: {error.strerror}") from error
            if fault:
                trace.damages.add(trace.size, fault)
            yield trace


@dataclass(frozen=True, slots=True)
class SavedInput(_Found):
    """Saved results that were found."""

    @contextmanager
    def open(self) -> Iterator[SavedResults]:
        """Open it; NotATraceError where it can't be read at all."""
        with ExitStack() as stack:
            file, fault = self._buffered(stack)
            yield SavedResults(file, self.name, fault)


@dataclass(frozen=True, slots=True)
class SysmonInput(_Found):
    """A recording of Sysmon that was found."""

    form: RecordingForm

    @contextmanager
    def open(self, kinds: Kinds | None = None) -> Iterator[SysmonRecording]:
        """Open it; NotATraceError where it can't be read at all."""
        from etwdetect.offline.sysmon import SysmonRecording  # noqa: PLC0415 (lazy import: fast start-up)

        with ExitStack() as stack:
            file, fault = self._buffered(stack)
            yield SysmonRecording(file, self.form, self.name, fault, kinds)


@dataclass(frozen=True, slots=True)
class UnreadInput:
    """What was found in a directory or an archive and can't be read: its name, and the sentence about it.

    *passed_over* says that it may be no input at all, such as a packed file without a trace in it.
    """

    path: Path
    name: str
    why: str
    offset: int | None = None
    passed_over: bool = False

    @property
    def error(self) -> NotATraceError:
        """The error, for people."""
        return NotATraceError(self.name, self.why, self.offset)

    def open(self) -> NoReturn:
        """Raise the error."""
        raise self.error


if TYPE_CHECKING:
    Readable = Input | EventDataInput | UnreadInput
    Records = SavedInput | SysmonInput
    Found = Readable | Records


def is_called_input(path: Path) -> bool:
    """Whether a file at *path* would be looked at in a directory."""
    return path.name.lower().endswith(ENDINGS)


def find_inputs(path: str | os.PathLike[str]) -> Iterator[Readable]:
    """Yield the traces at *path*, in the order of their names.

    Raises NotATraceError where there is nothing, a directory or an archive without a trace, or saved results.
    """
    what = None
    for found in find_all(path):
        what = _NO_EVENTS.get(type(found))
        if not isinstance(found, SavedInput | SysmonInput):
            yield found
    if what:
        raise NotATraceError(str(path), f"holds {what}, not events")


_NO_EVENTS: Final[dict[type, str]] = {SavedInput: "saved results", SysmonInput: "what Sysmon reported"}


def find_all(path: str | os.PathLike[str]) -> Iterator[Found]:
    """Yield the traces, saved results and records of Sysmon at *path*, by their names; ``-`` is standard input.

    Of a directory, only the traces: saved results in it are likely to be of those. What can't be read in a
    directory or an archive is yielded too, and raises its error when it is opened. Raises NotATraceError where
    there is nothing, a directory without a trace, or an archive without either.
    """
    path = Path(path)
    if path == STANDARD_INPUT:
        from etwdetect.sources.spool import standard_input  # noqa: PLC0415 (lazy import: fast start-up)

        yield from _in_place(standard_input(path))
    elif _kind(path) == stat.S_IFDIR:
        yield from _in_directory(path)
    else:
        yield from _in_place(Place(path, str(path)))


def _in_directory(path: Path) -> Iterator[Found]:
    found = False
    files, unread = _listed(path)
    for each_unread in unread:
        found = True
        yield each_unread
    for each in files:
        try:
            for each_input in _in_place(Place(each, str(each)), named=False):
                if not isinstance(each_input, SavedInput):
                    found = True
                    yield each_input
        except OtherContentError as error:
            if each.name.lower().endswith((_PLAIN_TRACE, *PACKED_ENDINGS)):  # else it is no input
                found = True
                yield _unread(each, error, passed_over=True)
        except NotATraceError as error:
            found = True
            yield _unread(each, error)
    if not found:
        what = ", ".join(ENDINGS[: -len(PACKED_ENDINGS)])
        raise NotATraceError(str(path), f"is a directory with no input ({what}, or packed) in it")


def _listed(folder: Path) -> tuple[Iterator[Path], list[UnreadInput]]:
    """Return the files below *folder* with names of inputs, in order, and what can't be looked at."""
    files: list[str] = []
    passed_over: list[tuple[str, str]] = []

    def add(error: OSError) -> None:
        passed_over.append((str(error.filename), f"cannot be listed: {error.strerror}"))

    inside = _real(folder)

    def named() -> Iterator[str]:
        for here, folders, names in os.walk(folder, onerror=add):
            for name in folders:
                each = os.path.join(here, name)  # noqa: PTH118 (strings: there may be very many)
                if os.path.islink(each) and not _real(each).startswith(inside):  # noqa: PTH114
                    passed_over.append(
                        (each, "is a link to a directory, which is not followed: name it to have it read")
                    )
            yield from (os.path.join(here, name) for name in names if name.lower().endswith(ENDINGS))  # noqa: PTH118

    budget = current.get()
    for each in named():
        if not budget.take("members"):
            passed_over.append((str(folder), budget.sentence("members")))
            break
        if _kind(each) in _FILES:
            files.append(each)
        else:
            passed_over.append((each, _NO_FILE))
    in_order = sorted(files, key=lambda file: file.split(os.sep))  # noqa: PTH206 (as paths are sorted)
    return map(Path, in_order), [
        UnreadInput(Path(each), each, why, passed_over=True) for each, why in sorted(passed_over)
    ]


def _real(folder: str | Path) -> str:
    """Return the path of *folder* without links, with a separator at its end."""
    return os.path.join(os.path.realpath(folder), "")  # noqa: PTH118


def _kind(path: str | Path) -> int:
    """Return the type of *path*, such as stat.S_IFREG; 0 where only opening it will tell."""
    try:
        return stat.S_IFMT(os.stat(path).st_mode)  # noqa: PTH116
    except OSError:
        return 0


def _in_place(place: Place, *, named: bool = True) -> Iterator[Found]:
    """Yield what is in a file, in standard input or in a member; *named* says that the user gave its name."""
    if place.member is None and place.spool is None and _kind(place.path) not in _FILES:
        raise NotATraceError(place.name, _NO_FILE)
    head, packed = place.head(HEAD)
    archive = archive_kind(head)
    refused = refusal(head)
    if archive is not None:
        yield from _in_archive(place, archive, packed=packed is not None)
    elif refused is not None:
        is_trace = named or place.name.lower().endswith(_PLAIN_TRACE)
        raise (NotATraceError if is_trace else OtherContentError)(place.name, refused)
    elif packed and stream_kind(head):
        raise NotATraceError(place.name, "is packed twice: unpack it once")
    elif looks_saved(head):
        yield SavedInput(place)
    elif (form := recording_form(head)) is not None:
        if not named and place.member is None and not is_of_sysmon(head):
            raise OtherContentError(place.name, "holds events of Windows, but none of Sysmon at its beginning")
        yield SysmonInput(place, form)
    elif is_event_data(head[:4]):
        from etwdetect.sources.eventdata.trace import find_recordings  # noqa: PLC0415 (lazy import: fast start-up)

        yield from find_recordings(place)
    elif packed and not named and not _is_trace(place.name, head):
        raise OtherContentError(place.name, "is packed, and holds no trace")
    else:
        yield Input(place)


def _is_trace(name: str, head: bytes) -> bool:
    """Whether what is packed in the file called *name*, and begins with *head*, is or should be a trace."""
    called = name.lower().rpartition(".")[0].endswith(_PLAIN_TRACE)
    return called or (len(head) >= HEADER_SIZE and parse(head[:HEADER_SIZE]).fault() is None)


def _in_archive(place: Place, kind: str, *, packed: bool) -> Iterator[Found]:
    # Lazy imports: fast start-up.
    from etwdetect.sources.archive import members  # noqa: PLC0415
    from etwdetect.sources.spool import Spool  # noqa: PLC0415
    from etwdetect.sources.unpacking import Allowance  # noqa: PLC0415

    if place.member is not None:
        raise OtherContentError(place.name, "is an archive in an archive: unpack it first")
    spool = Spool(place) if packed else place.spool
    archive = Place(place.path, place.name, spool)
    with ExitStack() as stack:
        file = archive.open_archive(stack)
        allowance = Allowance(file.seek(0, os.SEEK_END))
        listed, fault = members(file, kind)
    if fault and not listed:
        raise NotATraceError(place.name, fault)
    seen: Counter[str] = Counter()
    found = False
    for member in sorted(listed, key=lambda member: member.name):
        if member.name.lower().endswith(_IN_ARCHIVES):
            seen[member.name] += 1
            again = f" ({seen[member.name]})" if seen[member.name] > 1 else ""
            name = f"{place.name}!{member.name}{again}"
            for each in _in_member(Place(place.path, name, spool, member, allowance)):
                found = found or not isinstance(each, UnreadInput) or not each.passed_over
                yield each
    for why in (fault, spool and spool.fault):
        if why:
            yield UnreadInput(place.path, place.name, why, passed_over=True)
    if not found:
        raise OtherContentError(place.name, f"is a .{kind} with no trace, no events and no saved results in it")


def _in_member(place: Place) -> Iterator[Found]:
    member = place.member
    assert member is not None
    try:
        if member.fault:
            yield UnreadInput(place.path, place.name, member.fault)
        elif member.name.lower().endswith(_PLAIN_TRACE):  # not opened twice: there may be very many
            yield Input(place)
        else:
            yield from _in_place(place, named=False)
    except OtherContentError as error:
        if member.name.lower().endswith(PACKED_ENDINGS):
            yield _unread(place.path, error, passed_over=True)
    except NotATraceError as error:
        yield _unread(place.path, error)


def _unread(path: Path, error: NotATraceError, *, passed_over: bool = False) -> UnreadInput:
    """Return what the user is told of *error*. The error itself would keep all frames that it came through."""
    return UnreadInput(path, error.name, error.why, error.offset, passed_over)
