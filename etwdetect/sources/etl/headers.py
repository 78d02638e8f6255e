"""The headers of many records at once, in columns: for records whose header says all at a fixed place.

Layouts as in `records`; what it reads here is what `records.read` returns for the same record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from etwdetect.sources.etl.records import HEADERS

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

_BODY: Final = np.zeros(256, np.uint8)
"""By header type: where the payload begins."""
for _type in (*EVENT_HEADERS, *_KERNEL_HEADERS):
    _BODY[_type] = HEADERS[_type][1]


class Headers(NamedTuple):
    """Columns of records: where each begins in the window, its size, where its payload begins, and its header.

    *provider* is the first half of the GUID, and *rest* the second, 0 for the kernel's own records, whose *id* is
    their hook id. *time* is a FILETIME. Only where *plain* is set are the others valid.
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
    plain: Flags


def read_headers(data: bytearray, at: Numbers, clock: ClockConversion) -> Headers:
    """Read the headers of the complete records at the offsets *at* in *data*, which `walk` found.

    Not plain are headers of other types, with extended items, and with times out of range.
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
    return Headers(
        at,
        np.where(is_event, start[:, 0], start[:, 2]).astype(np.int64),
        at + _BODY[kind],
        np.where(is_event, words[in_window + 3], 0),
        np.where(is_event, words[in_window + 4], 0),
        np.where(is_event, descriptor & 0xFFFF, start[:, 3]).astype(np.int64),
        np.where(is_event, descriptor >> 16 & 0xFF, start[:, 0]).astype(np.int64),
        np.where(pointers, pointers, np.where(np.isin(kind, _WITH_32_BITS), 4, 8)),
        time,
        ids[:, 1],
        ids[:, 0],
        plain & in_range & (flags & _HAS_EXTENDED_ITEMS == 0),
    )
