r"""Call stacks as they are recorded: in pieces, which `Piece` reads, all in one form of record.

The kernel's class StackWalk has them as events of their own, behind the event that they are of; events with a full
header have them as extended items, which `from_items` turns into records of the same form. Layouts: the MOF class
StackWalk in root\wmi, and EVENT_EXTENDED_ITEM_STACK_TRACE32 to STACK_KEY64 of evntcons.h, the former checked on
a trace of build 9200.
"""

from __future__ import annotations

from struct import Struct, unpack_from
from typing import TYPE_CHECKING, Final, NamedTuple

from etwdetect.sources.etl.records import HEADERS, raw_time

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etwdetect.core.raw import RawEvent

_HOOK_GROUP: Final = 0x18

WHOLE: Final = 32
"""A stack: u64 time of its event, u32 process, u32 thread, frames."""
KERNEL_BY_KEY: Final = 37
USER_BY_KEY: Final = 38
"""The kernel or the user part of a stack: u64 time of its event, u32 process, u32 thread, pointer-sized key."""
DEFINITIONS: Final = frozenset((34, 35, 36))
"""The frames behind a key: pointer-sized key, frames. Behind the next definition, the key means other frames."""
OPCODES: Final = DEFINITIONS | {WHOLE, KERNEL_BY_KEY, USER_BY_KEY}

EITHER_BY_KEY: Final = 0xF0
"""Not of Windows: an extended item with a key, in the form of KERNEL_BY_KEY."""
USER_BY_MATCH: Final = 0xF1
"""Not of Windows: an item whose user part comes in another event; in place of the key is a u64 MatchId."""
MATCH: Final = 0xF2
"""Not of Windows: such an event's item with frames: u64 MatchId, frames."""
MATCH_BY_KEY: Final = 0xF3
"""Not of Windows: the same with a key: u64 MatchId, pointer-sized key."""
MATCHES: Final = frozenset((MATCH, MATCH_BY_KEY))

OF_AN_EVENT: Final = frozenset((WHOLE, KERNEL_BY_KEY, USER_BY_KEY, EITHER_BY_KEY, USER_BY_MATCH))
"""The records that name an event; the others are what these refer to."""

_PERFINFO: Final = Struct("<HBBHHq")
_PERFINFO_TYPES: Final = {4: 0x10, 8: 0x11}
_FLAGS: Final = 0xC0
_LARGEST: Final = 0xFFF8
POINTERS_32: Final = frozenset((0x01, 0x03, 0x10))
"""The types of headers whose record has pointers of 4 bytes."""
_LETTERS: Final = {4: "I", 8: "Q"}
_EVENT: Final = Struct("<qII")
_MATCH_ID: Final = Struct("<Q")
_ITEMS: Final = {5: (4, False), 6: (8, False), 17: (4, True), 18: (8, True)}
"""By type of an extended item: the size of its pointers, and whether it has a key instead of frames."""


class Piece(NamedTuple):
    """One record: of an event (its raw *time*, *pid* and *tid*) or a definition of *key*.

    *recorded* is the record's own raw time. Of an event's piece, *key* is what it refers to, None where it has the
    *frames*. A definition that refers to another key has it in *further*.
    """

    opcode: int
    recorded: int
    time: int
    pid: int
    tid: int
    key: int | None
    further: int | None
    frames: tuple[int, ...]


def piece(data: bytes | bytearray, at: int) -> Piece | None:
    """Return the record at *at* of *data*, or None where it is too short for what it is."""
    header_type, opcode = data[at + 2], data[at + 6]
    size = data[at + 4] | data[at + 5] << 8
    start, end = at + HEADERS[header_type][1], at + size
    width = 4 if header_type in POINTERS_32 else 8
    time = pid = tid = 0
    key = further = None
    if opcode in OF_AN_EVENT:
        if start + _EVENT.size > end:
            return None
        time, pid, tid = _EVENT.unpack_from(data, start)
        start += _EVENT.size
    if opcode != WHOLE:
        key_size = _MATCH_ID.size if opcode in {USER_BY_MATCH, *MATCHES} else width
        if start + key_size > end:
            return None
        key = int.from_bytes(data[start : start + key_size], "little")
        start += key_size
    if opcode == MATCH_BY_KEY:
        if start + width > end:
            return None
        further = int.from_bytes(data[start : start + width], "little")
    has_frames = opcode in DEFINITIONS or opcode in {WHOLE, MATCH}
    count = (end - start) // width if has_frames else 0
    frames = unpack_from(f"<{count}{_LETTERS[width]}", data, start)
    return Piece(opcode, raw_time(data, at) or 0, time, pid, tid, key, further, frames)


def from_event(raw: RawEvent, time: int) -> bytes:
    """Return an event of StackWalk that has a full header as a record; *time* is its raw time."""
    return _record(raw.opcode, raw.pointer_size, time, raw.payload)


def from_items(raw: RawEvent, time: int, *, is_user_part: bool) -> Iterator[bytes]:
    """Yield the records of the items with stacks of *raw*, whose raw time is *time*.

    *is_user_part* says that the event is itself the missing part of another one's stack.
    """
    for item_type, data in raw.stacks:
        width, has_key = _ITEMS[item_type]
        if len(data) < _MATCH_ID.size:
            continue
        match, rest = data[: _MATCH_ID.size], data[_MATCH_ID.size :]
        if is_user_part:
            yield _record(MATCH_BY_KEY if has_key else MATCH, width, time, match + rest)
            continue
        event = _EVENT.pack(time, raw.pid, raw.tid)
        yield _record(EITHER_BY_KEY if has_key else WHOLE, width, time, event + rest)
        if any(match):
            yield _record(USER_BY_MATCH, width, time, event + match)


def _record(opcode: int, pointer_size: int, time: int, payload: bytes) -> bytes:
    payload = payload[: _LARGEST - _PERFINFO.size]
    size = _PERFINFO.size + len(payload)
    start = 2, _PERFINFO_TYPES[pointer_size], _FLAGS, size, _HOOK_GROUP << 8 | opcode, time
    return (_PERFINFO.pack(*start) + payload).ljust(size + -size % 8, b"\0")
