"""The records in a buffer: the types of headers, where each stores its size, and how to parse one.

A record is aligned to 8 bytes, and its first 8 bytes are four u16: the size or the version, the marker (header
type and flags), the size unless the first is the size, and the kernel's hook id if it has one. Layouts: evntcons.h
and evntrace.h of the Windows SDK for EVENT_HEADER, FULL and INSTANCE headers; the public symbols of ntoskrnl for
the rest; all checked on real traces.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import TYPE_CHECKING, Final

from etwdetect.core.events import UNKNOWN_ID
from etwdetect.core.filetime import LAST_FILETIME
from etwdetect.core.raw import IMAGE, KERNEL_PROCESS, PROCESS, STACK_WALK, SYSTEM_CONFIG, THREAD, RawEvent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from etwdetect.sources.etl.clock import ClockConversion

ALIGNMENT: Final = 8
START: Final = Struct("<HHHH")
"""The first 8 bytes of any record."""

SMALLEST_WITH_TIME: Final = 24
"""The bytes from the start of a record to the end of its raw time stamp, at most."""

FILL: Final = b"\xff\xff\xff\xff"
"""What Windows writes after the last record of a buffer."""


class Kind(IntEnum):
    """The layout of the first 8 bytes of a record, by its marker."""

    NONE = 0
    """Not the start of a record."""
    HOOKED = 1
    """The size is at offset 4, a hook id at 6."""
    NAMED = 2
    """The size is at offset 0, the GUID of its provider or class at 24."""
    OTHER = 3
    """The size is at offset 0; no event of interest has this layout."""


HEADERS: Final = {
    0x01: (Kind.HOOKED, 32),  # SYSTEM32
    0x02: (Kind.HOOKED, 32),  # SYSTEM64
    0x03: (Kind.HOOKED, 24),  # COMPACT32
    0x04: (Kind.HOOKED, 24),  # COMPACT64
    0x0A: (Kind.NAMED, 48),  # FULL32
    0x0B: (Kind.OTHER, 56),  # INSTANCE32
    0x10: (Kind.HOOKED, 16),  # PERFINFO32
    0x11: (Kind.HOOKED, 16),  # PERFINFO64
    0x12: (Kind.NAMED, 80),  # EVENT_HEADER32
    0x13: (Kind.NAMED, 80),  # EVENT_HEADER64
    0x14: (Kind.NAMED, 48),  # FULL64
    0x15: (Kind.OTHER, 56),  # INSTANCE64
}
"""By header type: the kind, and the header's size in bytes."""

_MESSAGE_SIZE: Final = 8
_MARKED: Final = 0x80
_MESSAGE: Final = 0x90


def _tables() -> tuple[bytes, bytes]:
    """Return, for each of the 65,536 markers, its Kind and its header's size in bytes."""
    kinds, sizes = bytearray(1 << 16), bytearray(1 << 16)
    for flags in range(_MARKED, 0x100):
        row = flags << 8
        if flags & _MESSAGE == _MESSAGE:
            kinds[row : row + 256] = bytes([Kind.OTHER]) * 256
            sizes[row : row + 256] = bytes([_MESSAGE_SIZE]) * 256
        else:
            for header_type, (kind, size) in HEADERS.items():
                kinds[row + header_type] = kind
                sizes[row + header_type] = size
    fill = int.from_bytes(FILL[2:4], "little")  # otherwise a message of 65,535 bytes
    kinds[fill], sizes[fill] = Kind.NONE, 0
    return bytes(kinds), bytes(sizes)


KINDS, HEADER_SIZES = _tables()

# In the kernel's own records the upper byte of the hook id is the class, the lower one the opcode.
_HOOK_GROUPS: Final = {0x03: PROCESS, 0x05: THREAD, 0x0B: SYSTEM_CONFIG, 0x14: IMAGE, 0x18: STACK_WALK}
_IMAGE_LOAD_HOOK: Final = 0x030A  # it is in the group of process hooks
_LOAD: Final = 10

_SYSTEM = Struct("<HBBHHIIq")
_PERFINFO = Struct("<HBBHHq")
_FULL = Struct("<HBBBBHIIq16s")
_EVENT = Struct("<HBBHHIIq16sHBBBBHQ")
_EXTENDED_ITEM = Struct("<HHHH")
_TIME = Struct("<q")
_START_KEY = Struct("<Q")
_PERFINFO_TYPES: Final = frozenset((0x10, 0x11))

_CONTAINER_ID: Final = 16
"""EVENT_HEADER_EXT_TYPE_CONTAINER_ID of evntcons.h: a GUID as 36 bytes of text."""
_MOST_OF_AN_ID: Final = 64
START_KEY_ITEM: Final = 13
"""EVENT_HEADER_EXT_TYPE_PROCESS_START_KEY of evntcons.h: a u64, of the process in the header."""

STACK_ITEMS: Final = frozenset((5, 6, 17, 18))
"""EVENT_HEADER_EXT_TYPE_STACK_TRACE32 and 64, STACK_KEY32 and 64 of evntcons.h."""

_MOST_STACKS: Final = 4
"""Of one event; Windows adds one, or two where it has the parts apart."""

_Items = tuple[str | None, tuple[tuple[int, bytes], ...], int | None]
"""What extended items say: the container's id, the stacks, and the process start key."""
_NO_ITEMS: Final[_Items] = (None, (), None)

_EVENT_TYPES: Final = frozenset((0x12, 0x13))

_HAS_EXTENDED_ITEMS: Final = 0x01
_POINTERS_32: Final = 0x20
_POINTERS_64: Final = 0x40
_TYPES_32: Final = frozenset((0x01, 0x03, 0x0A, 0x10, 0x12))

_IMAGE_STARTS: Final = {
    0x01: Struct("<H2xH10xq8x8xI"),
    0x02: Struct("<H2xH10xq8x16xI"),
    0x03: Struct("<H2xH10xq8xI"),
    0x04: Struct("<H2xH10xq16xI"),
    0x10: Struct("<H2xH2xq8xI"),
    0x11: Struct("<H2xH2xq16xI"),
}
"""By header type, of the kernel's image records: the version, the size, the raw time stamp, and, behind the header
and two pointers, the process id."""


def hook_ids(provider: bytes, opcodes: frozenset[int]) -> frozenset[int]:
    """Return the hook ids of the given *opcodes* of a kernel event class; none for another provider."""
    ids = {group << 8 | opcode for group, name in _HOOK_GROUPS.items() if name == provider for opcode in opcodes}
    if provider == IMAGE and _LOAD in opcodes:
        ids.add(_IMAGE_LOAD_HOOK)
    return frozenset(ids)


def padded(data: bytearray, places: Sequence[int], *, hooked: bool) -> tuple[bytes, list[int]]:
    """Return the complete records at *places* in a window, one behind the other, and the size of each in bytes.

    Places are multiples of 8, and so are sizes: each record comes with what pads it to one. *hooked* says that the
    records are the kernel's own, or else such as begin with their size.
    """
    size_at = 2 if hooked else 0
    with memoryview(data) as view, view.cast("H") as words:
        sizes = [words[(at >> 1) + size_at] + 7 & -ALIGNMENT for at in places]
        return b"".join([view[at : at + size] for at, size in zip(places, sizes, strict=True)]), sizes


def raw_time(data: bytearray | bytes, at: int) -> int | None:
    """Return the raw time stamp of the complete record at *at*; None for a type that has none in a known place."""
    kind, header_type = KINDS[data[at + 2] | data[at + 3] << 8], data[at + 2]
    if kind in (Kind.HOOKED, Kind.NAMED):
        return int(_TIME.unpack_from(data, at + (8 if header_type in _PERFINFO_TYPES else 16))[0])
    return None


def image_start(data: bytearray | bytes, at: int) -> tuple[int, int] | None:
    """Return the raw time stamp and the process id of the image event whose complete record is at *at*.

    None for the few records that only `read` reads.
    """
    layout = _IMAGE_STARTS.get(data[at + 2])
    if layout is not None and at + layout.size <= len(data):
        version, size, raw, pid = layout.unpack_from(data, at)
        # The classic version 0 has the process id in the header alone.
        return (raw, pid) if version and size >= layout.size else None
    if data[at + 2] in _EVENT_TYPES and at + _EVENT.size <= len(data):
        size, _, _, flags, _, _, _, raw, provider, *_ = _EVENT.unpack_from(data, at)
        place = HEADERS[data[at + 2]][1] + 2 * _event_pointer_size(data[at + 2], flags)
        if provider == KERNEL_PROCESS and not flags & _HAS_EXTENDED_ITEMS and place + 4 <= size:
            return raw, int.from_bytes(data[at + place : at + place + 4], "little")
    return None


def read(data: bytearray | bytes, at: int, clock: ClockConversion, offset: int) -> RawEvent:
    """Parse the record at *at*, which `walk` found to be complete; *offset* is its offset in the file.

    Raises ValueError, with the reason, for inconsistent extended items and for a time stamp out of range.
    """
    header_type = data[at + 2]
    pointer_size = 4 if header_type in _TYPES_32 else 8
    event_id, end = 0, at
    items = _NO_ITEMS
    if header_type in _EVENT_TYPES:
        size, _, _, flags, _, tid, pid, time, provider, event_id, version, _, _, opcode, _, _ = _EVENT.unpack_from(
            data, at
        )
        pointer_size = _event_pointer_size(header_type, flags)
        body, end = at + HEADERS[header_type][1], at + size
        if flags & _HAS_EXTENDED_ITEMS:
            body, items = _extended_items(data, body, end)
    elif header_type in (0x0A, 0x14):
        size, _, _, opcode, _, version, tid, pid, time, provider = _FULL.unpack_from(data, at)
        body, end = at + HEADERS[header_type][1], at + size
    elif header_type in (0x10, 0x11):
        version, _, _, size, hook, time = _PERFINFO.unpack_from(data, at)
        provider, opcode, tid, pid = _class_of(hook), hook & 0xFF, UNKNOWN_ID, UNKNOWN_ID
        body, end = at + HEADERS[header_type][1], at + size
    else:
        version, _, _, size, hook, tid, pid, time = _SYSTEM.unpack_from(data, at)
        provider, opcode = _class_of(hook), hook & 0xFF
        body, end = at + HEADERS[header_type][1], at + size
    time = clock.filetime(time)
    if not 0 <= time <= LAST_FILETIME:
        raise ValueError("a record's time stamp is out of range")
    payload = bytes(data[body:end])
    return RawEvent(provider, event_id, version, opcode, time, pid, tid, pointer_size, payload, offset, *items)


def _event_pointer_size(header_type: int, flags: int) -> int:
    """Return the pointer size of an event that has an EVENT_HEADER with *flags*, or else is of *header_type*."""
    if flags & (_POINTERS_32 | _POINTERS_64):
        return 4 if flags & _POINTERS_32 else 8
    return 4 if header_type in _TYPES_32 else 8


def _class_of(hook: int) -> bytes:
    return IMAGE if hook == _IMAGE_LOAD_HOOK else _HOOK_GROUPS.get(hook >> 8, b"")


def _extended_items(data: bytearray | bytes, at: int, end: int) -> tuple[int, _Items]:
    """Return the offset of the payload, after the extended items at *at*, and what these say.

    An item is {u16 whole size, u16 type, u16 another follows, u16 data size, data}, padded to its whole size.
    """
    container, stacks, start_key = _NO_ITEMS
    while at + _EXTENDED_ITEM.size <= end:
        whole, item_type, another_follows, size = _EXTENDED_ITEM.unpack_from(data, at)
        if whole < _EXTENDED_ITEM.size + size or at + whole > end:
            break
        if item_type == _CONTAINER_ID and size <= _MOST_OF_AN_ID:
            text = bytes(data[at + _EXTENDED_ITEM.size : at + _EXTENDED_ITEM.size + size])
            container = text.rstrip(b"\0").decode("ascii", "backslashreplace") or None
        elif item_type in STACK_ITEMS and len(stacks) < _MOST_STACKS:
            stacks += ((item_type, bytes(data[at + _EXTENDED_ITEM.size : at + _EXTENDED_ITEM.size + size])),)
        elif item_type == START_KEY_ITEM and size == _START_KEY.size:
            (start_key,) = _START_KEY.unpack_from(data, at + _EXTENDED_ITEM.size)
        at += whole
        if not another_follows & 1:
            return at, (container, stacks, start_key)
    raise ValueError("a record's extended items are inconsistent")
