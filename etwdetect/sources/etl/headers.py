"""The headers of many records at once, in columns: for records whose header says all at a fixed place.

Layouts as in `records`; what it reads here is what `records.read` returns for the same record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from etwdetect.sources.etl.records import HEADERS, START_KEY_ITEM

if TYPE_CHECKING:
    import numpy.typing as npt

    from etwdetect.sources.etl.clock import ClockConversion

    Numbers = npt.NDArray[np.integer[Any]]
    Flags = npt.NDArray[np.bool_]

EVENT_HEADERS: Final = (0x12, 0x13)
"""The header types of events of providers with a manifest."""

_KERNEL_HEADERS: Final = (0x01, 0x02, 0x03, 0x04)
_WITH_32_BITS: Final = (0x01, 0x03, 0x12)
_HAS_EXTENDED_ITEMS: Final = 0x01
_POINTERS_32: Final = 0x20
_POINTERS_64: Final = 0x40

_EVENT_SIZE: Final = HEADERS[EVENT_HEADERS[0]][1]
_KEY_SIZE: Final = 8
_KEYED: Final = 16
"""The size of the extended item that is a start key, with its head."""
_KEY_ITEM: Final = _KEYED | START_KEY_ITEM << 16 | _KEY_SIZE << 48
"""The head of that item as one number, where no other item follows."""
_IN_USE: Final = np.uint64(0xFFFF_0001_FFFF_FFFF)
"""The bits of a head that mean something: of those behind the type, only the one for another item that follows."""

_BODY: Final = np.zeros(256, np.uint8)
"""By header type: where the payload begins."""
for _type in (*EVENT_HEADERS, *_KERNEL_HEADERS):
    _BODY[_type] = HEADERS[_type][1]


class Headers(NamedTuple):
    """Columns of records: where each begins in the window, its size, where its payload begins, and its header.

    *provider* is the first half of the GUID, and *rest* the second, 0 for the kernel's own records, whose *id* is
    their hook id. *time* is a FILETIME. *start_key* is the process start key of *pid*, valid where *has_key*. Only
    where *plain* is set are the others valid.
    """

    at: Numbers
    size: Numbers
    body: Numbers
    provider: Numbers
    rest: Numbers
    id: Numbers
    version: Numbers
    pointer_size: Numbers
    time: Numbers
    pid: Numbers
    tid: Numbers
    start_key: Numbers
    has_key: Flags
    plain: Flags


def read_headers(data: bytearray, at: Numbers, clock: ClockConversion) -> Headers:
    """Read the headers of the complete records at the offsets *at* in *data*, which `walk` found.

    Not plain are headers of other types, with extended items but a start key alone, and with times out of range.
    """
    words = np.frombuffer(data, np.uint64)
    place = at >> 3
    start = words[place].view(np.uint16).reshape(-1, 4)
    kind = start[:, 1] & 0xFF
    is_event = np.isin(kind, EVENT_HEADERS)
    plain = is_event | np.isin(kind, _KERNEL_HEADERS)
    ids = words[place + 1].view(np.uint32).reshape(-1, 2)
    raw = words[place + 2].view(np.int64)
    # Fields of the long header are behind the end of a short one, and may be behind that of the window.
    in_window = np.minimum(place, len(words) - 6)
    flags = np.where(is_event, start[:, 2], 0)
    descriptor = np.where(is_event, words[in_window + 5], 0)
    pointers = np.where(flags & _POINTERS_32, 4, np.where(flags & _POINTERS_64, 8, 0))
    time, in_range = clock.filetimes(raw)
    size = np.where(is_event, start[:, 0], start[:, 2]).astype(np.int64)
    has_items = flags & _HAS_EXTENDED_ITEMS != 0
    start_key, has_key = _start_keys(words, place, has_items & (size >= _EVENT_SIZE + _KEYED))
    return Headers(
        at,
        size,
        at + _BODY[kind] + np.where(has_key, _KEYED, 0),
        np.where(is_event, words[in_window + 3], 0),
        np.where(is_event, words[in_window + 4], 0),
        np.where(is_event, descriptor & 0xFFFF, start[:, 3]).astype(np.int64),
        np.where(is_event, descriptor >> 16 & 0xFF, start[:, 0]).astype(np.int64),
        np.where(pointers, pointers, np.where(np.isin(kind, _WITH_32_BITS), 4, 8)),
        time,
        ids[:, 1],
        ids[:, 0],
        start_key,
        has_key,
        plain & in_range & (has_key | ~has_items),
    )


def _start_keys(words: Numbers, place: Numbers, has_room: Flags) -> tuple[Numbers, Flags]:
    """Return the start keys of the events at *place*, and which have one, and no other extended item.

    Only those with *has_room* behind the header are looked at.
    """
    key, has_key = np.zeros(len(place), np.uint64), np.zeros(len(place), np.bool_)
    rows = np.flatnonzero(has_room)
    item = place[rows] + (_EVENT_SIZE >> 3)
    found = words[item] & _IN_USE == _KEY_ITEM
    key[rows[found]], has_key[rows[found]] = words[item[found] + 1], True
    return key, has_key
