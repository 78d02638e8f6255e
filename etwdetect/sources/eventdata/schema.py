"""The rows of events: the columns, and how an event is written to a row and read back.

docs/reference/events.md describes the columns for users. A row is a mapping from a column's name to its value,
without the columns whose values are not known.

>>> event = ThreadStart(10, 1, 2, 3, 4, 0x7FFC0000)
>>> row = to_row(Recording("HOST1", "boot-7"), 3, event)
>>> [f"{name}={value}" for name, value in row.items()][:5]
['schema_version=1', 'host=HOST1', 'recording=boot-7', 'seq=3', 'kind=ThreadStart']
>>> row["start_address"]
'0x7FFC0000'
>>> from_row(row) == (Recording("HOST1", "boot-7"), 3, event)
True
"""

from __future__ import annotations

import re
import reprlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from etwdetect.core.events import (
    MOST_FRAMES,
    CallStack,
    Contradiction,
    ImageLoad,
    ImageUnload,
    Loss,
    MachineName,
    ProcessRundown,
    ProcessStart,
    ProcessStop,
    SourceStart,
    ThreadRundown,
    ThreadStart,
    VolumeMapping,
)
from etwdetect.core.filetime import LAST_FILETIME

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from etwdetect.core.events import Event

SCHEMA_VERSION: Final = 2
"""The newest version of a row. Raise it with a new kind of row, or when a column changes its meaning; not with new
columns. A row is written in the version that has its kind, so that older readers refuse no more than they must."""

OLDEST_VERSION: Final = 1

POINTER_SIZES: Final = (4, 8)
"""The valid values of pointer_size, in bytes."""

MOST_TEXT: Final = 5 * 32_767
"""The longest text, in characters: a path of Windows, each of its characters escaped as `write_name` does it."""

NEWER: Final = "a newer etwdetect can read it"


class NoEventsError(ValueError):
    """A file is valid but does not hold rows of events."""


class Recording(NamedTuple):
    """One session, recorded or live, on one *host*; *name* is unique on that host."""

    host: str
    name: str


class RecordingStart(NamedTuple):
    """The first row of a recording, which describes it.

    *time* is not later than that of any other row. *start_time* is the FILETIME from which on nothing is missing:
    that of the first process or thread event. *pointer_size* is the machine's, 4 or 8 bytes; *boot_time* is the
    FILETIME of its boot, 0 where that is not known. *trace* and *trace_sha256* are the fields of that name of its
    records.
    """

    time: int
    start_time: int
    pointer_size: int = 8
    boot_time: int = 0
    trace: str | None = None
    trace_sha256: str | None = None


Row = tuple[int, "Event | RecordingStart"] | str
"""A row that was read, with its number in its recording, or what is wrong with it."""


class EventRow(NamedTuple):
    """One row: an event, its recording and its number there."""

    recording: Recording
    seq: int
    event: Event | RecordingStart


KINDS: Final[dict[str, Any]] = {
    kind.__name__: kind
    for kind in (
        RecordingStart,
        Loss,
        ProcessStart,
        ProcessRundown,
        ProcessStop,
        ThreadStart,
        ThreadRundown,
        ImageLoad,
        ImageUnload,
        VolumeMapping,
        MachineName,
        SourceStart,
        Contradiction,
        CallStack,
    )
}
"""The records that have rows, by name. Thread exits have none, because nothing uses them."""


VERSIONS: Final[dict[type, int]] = {CallStack: 2}
"""By kind, the first version that has it, where that is not the oldest."""


class Column(NamedTuple):
    """A column: its name, its type (int32, int64, string or bool), and how to write and read a value."""

    name: str
    type: str
    write: Callable[[Any], Any]
    read: Callable[[Any], Any]


def same(value: Any) -> Any:  # noqa: ANN401
    """Return *value*: it is written as it is."""
    return value


def _integer(bits: int, *, signed: bool = False) -> Callable[[Any], int]:
    low, high = (-1 << bits - 1, 1 << bits - 1) if signed else (0, 1 << bits)

    def read(value: Any) -> int:  # noqa: ANN401
        if type(value) is not int or not low <= value < high:  # a bool is an int, too
            raise ValueError(f"{reprlib.repr(value)} is not a number from {low} to {high - 1}")
        return value

    return read


def _text(value: Any) -> str:  # noqa: ANN401
    if not isinstance(value, str):
        raise TypeError(f"{reprlib.repr(value)} is not a string")
    if len(value) > MOST_TEXT:
        raise ValueError(f"is longer than {MOST_TEXT:,} characters")
    return value


def _read_moment(value: Any) -> int:  # noqa: ANN401
    if not 0 <= _TIME(value) <= LAST_FILETIME:
        raise ValueError(f"{value} is not a FILETIME before the year 10000")
    return int(value)


def _truth(value: Any) -> bool:  # noqa: ANN401
    if not isinstance(value, bool):
        raise TypeError(f"{reprlib.repr(value)} is not true or false")
    return value


_ADDRESS: Final = re.compile("0x[0-9a-fA-F]{1,16}")
_SHA256: Final = re.compile("[0-9a-f]{64}")
_UNWRITABLE: Final = re.compile("[\0\ud800-\udfff]")
_ESCAPE: Final = re.compile("\0([0-9a-f]{4})")


def write_address(value: int) -> str:
    """Return *value* in hexadecimal, as Sysmon writes addresses."""
    return f"0x{value:X}"


def _read_address(value: Any) -> int:  # noqa: ANN401
    if not _ADDRESS.fullmatch(_text(value)):
        raise ValueError(f"{reprlib.repr(value)} is not an address such as 0x7FFC0000")
    return int(value, 16)


def _write_u64(value: int) -> int:
    """Return the signed number of the same 64 bits: only damaged or hostile events set the highest bit."""
    return value if value < 1 << 63 else value - (1 << 64)


def _read_u64(value: Any) -> int:  # noqa: ANN401
    return _TIME(value) % (1 << 64)


def write_name(value: str) -> str:
    """Return *value* as valid Unicode, which Parquet requires; `_read_name` reverses it.

    An unpaired surrogate is written as NUL and four hex digits. Names in Windows never contain a NUL.
    """
    if value.isascii() and "\0" not in value:
        return value
    return _UNWRITABLE.sub(lambda found: f"\0{ord(found[0]):04x}", value)


def _read_name(value: Any) -> str:  # noqa: ANN401
    return _ESCAPE.sub(lambda found: chr(int(found[1], 16)), _text(value))


def _write_frames(frames: tuple[int, ...]) -> str:
    return ",".join(map(write_address, frames))


def _read_frames(value: Any) -> tuple[int, ...]:  # noqa: ANN401
    frames = _text(value).split(",") if value else []
    if len(frames) > MOST_FRAMES:
        raise ValueError(f"has more than {MOST_FRAMES} frames")
    return tuple(map(_read_address, frames))


def _read_pointer_size(value: Any) -> int:  # noqa: ANN401
    size = _COUNT(value)
    if size not in POINTER_SIZES:
        raise ValueError(f"{size} is not 4 or 8")
    return size


def _read_bytes(value: Any) -> bytes:  # noqa: ANN401
    return bytes.fromhex(_text(value))


def _read_sha256(value: Any) -> str:  # noqa: ANN401
    if not _SHA256.fullmatch(_text(value)):
        raise ValueError("not 64 hexadecimal digits in lower case")
    return str(value)


_ID = _integer(32)
_TIME = _integer(64, signed=True)
_COUNT = _integer(63)

COLUMNS: Final = (
    Column("schema_version", "int32", same, _COUNT),
    Column("host", "string", write_name, _read_name),
    Column("recording", "string", write_name, _read_name),
    Column("seq", "int64", same, _COUNT),
    Column("kind", "string", same, _text),
    Column("time", "int64", same, _read_moment),
    Column("creator_pid", "int64", same, _ID),
    Column("creator_tid", "int64", same, _ID),
    Column("pid", "int64", same, _ID),
    Column("tid", "int64", same, _ID),
    Column("start_address", "string", write_address, _read_address),
    Column("parent_pid", "int64", same, _ID),
    Column("session_id", "int64", same, _ID),
    Column("create_time", "int64", _write_u64, _read_u64),
    Column("sid", "string", bytes.hex, _read_bytes),
    Column("image", "string", write_name, _read_name),
    Column("command_line", "string", write_name, _read_name),
    Column("base", "string", write_address, _read_address),
    Column("size", "int64", _write_u64, _read_u64),
    Column("checksum", "int64", same, _ID),
    Column("time_date_stamp", "int64", same, _ID),
    Column("rundown", "bool", same, _truth),
    Column("events", "int64", same, _COUNT),
    Column("buffers", "int64", same, _COUNT),
    Column("start_time", "int64", same, _read_moment),
    Column("pointer_size", "int32", same, _read_pointer_size),
    Column("boot_time", "int64", same, _TIME),
    Column("device", "string", write_name, _read_name),
    Column("path", "string", write_name, _read_name),
    Column("name", "string", write_name, _read_name),
    Column("kernel_frames", "string", _write_frames, _read_frames),
    Column("user_frames", "string", _write_frames, _read_frames),
    Column("no_kernel", "string", write_name, _read_name),
    Column("no_user", "string", write_name, _read_name),
    Column("container", "string", write_name, _read_name),
    Column("creator_key", "int64", _write_u64, _read_u64),
    Column("sequence", "int64", _write_u64, _read_u64),
    Column("trace", "string", write_name, _read_name),
    Column("trace_sha256", "string", same, _read_sha256),
)
"""All columns in their order."""

BY_NAME: Final = {column.name: column for column in COLUMNS}

_RANGES: Final = frozenset((_ID, _TIME, _COUNT, _read_moment))


def is_range(read: Callable[[Any], Any]) -> bool:
    """Whether *read* returns all numbers of a range as they are, and refuses others and what is no number."""
    return read in _RANGES


_WRITERS: Final = {
    kind: [(at, name, BY_NAME[name].write) for at, name in enumerate(kind._fields)] for kind in KINDS.values()
}


READERS: Final = {
    name: [(field, BY_NAME[field].read, field not in kind._field_defaults) for field in kind._fields]
    for name, kind in KINDS.items()
}
"""By the name of a kind: its fields, how each is read, and whether it must be there."""


def written_recording(recording: Recording) -> dict[str, str]:
    """Return the columns that name *recording*."""
    return {"host": write_name(recording.host), "recording": write_name(recording.name)}


def to_row(recording: Recording, seq: int, event: Event | RecordingStart) -> dict[str, Any]:
    """Return the row of *event*; KeyError for an event that has no row (ThreadStop)."""
    row: dict[str, Any] = {
        "schema_version": VERSIONS.get(type(event), OLDEST_VERSION),
        **written_recording(recording),
        "seq": seq,
        "kind": type(event).__name__,
    }
    for at, name, write in _WRITERS[type(event)]:
        value = event[at]
        if value is not None:
            row[name] = write(value)
    return row


def recording_of(row: Mapping[str, Any]) -> Recording:
    """Return the recording of *row*; ValueError where the row is not of this schema's version."""
    version = row.get("schema_version")
    if type(version) is not int or not OLDEST_VERSION <= version <= SCHEMA_VERSION:
        newer = isinstance(version, int) and version > SCHEMA_VERSION
        raise ValueError(f"has the schema version {reprlib.repr(version)}" + (f": {NEWER}" if newer else ""))
    return Recording(*(_value(row, name, _read_name, needed=True) for name in ("host", "recording")))


def from_row(row: Mapping[str, Any], recording: Recording | None = None) -> EventRow:
    """Return what `to_row` was given; ValueError, with what is wrong, for an invalid row.

    *recording* is the row's own, where it is known. Unknown columns are ignored.
    """
    recording = recording or recording_of(row)
    kind = row.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"is of the unknown kind {reprlib.repr(kind)}")
    seq = _value(row, "seq", _COUNT, needed=True)
    values = {name: _value(row, name, read, needed=needed) for name, read, needed in READERS[kind]}
    defaults = KINDS[kind]._field_defaults
    return EventRow(
        recording,
        seq,
        KINDS[kind](**{name: defaults[name] if value is None else value for name, value in values.items()}),
    )


def _value(row: Mapping[str, Any], name: str, read: Callable[[Any], Any], *, needed: bool) -> Any:  # noqa: ANN401
    value = row.get(name)
    if value is None:
        if needed:
            raise ValueError(f"has no {name}")
        return None
    try:
        return read(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: {error}") from error
