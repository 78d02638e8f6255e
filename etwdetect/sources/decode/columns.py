"""Decodes the fields of many events at once that stand at fixed places, in columns.

It takes the events that are many and simple: processes and threads of Microsoft-Windows-Kernel-Process, threads of
the kernel logger, and of those only payloads that `Decoder` would decode without a complaint. All others are left
to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from etwdetect.core import raw
from etwdetect.core.prefilter import (
    IMAGE_LISTING,
    IMAGE_LOAD,
    IMAGE_UNLOAD,
    PROCESS_RUNDOWN,
    PROCESS_START,
    PROCESS_STOP,
    THREAD_RUNDOWN,
    THREAD_START,
)
from etwdetect.core.raw import KERNEL_PROCESS, THREAD
from etwdetect.sources.decode import event_types, kernel_process, system_trace

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

    import numpy.typing as npt

    from etwdetect.sources.decode.event_types import EventType
    from etwdetect.sources.etl.headers import Flags, Headers

    Numbers = npt.NDArray[np.integer[Any]]

THREAD_STOP: Final = 10
IMAGE: Final = 20
"""The codes of events beside those that the rule knows."""

_CODES: Final = {
    event_types.thread_start: THREAD_START,
    event_types.thread_rundown: THREAD_RUNDOWN,
    event_types.thread_stop: THREAD_STOP,
    event_types.process_start: PROCESS_START,
    event_types.process_stop: PROCESS_STOP,
    event_types.process_rundown: PROCESS_RUNDOWN,
    event_types.image_load: IMAGE,
    event_types.image_unload: IMAGE,
}
FIRST_OF_KERNEL_PROCESS, _REST_OF_KERNEL_PROCESS = np.frombuffer(KERNEL_PROCESS, np.uint64)
"""The halves of the provider's GUID."""
_THREAD_HOOKS: Final = 0x05
"""The upper byte of the hook ids of the kernel logger's thread events."""
_LONGEST_SID: Final = 15

_NOT_CHOSEN: Final = -1


_IMAGE_KINDS: Final = {
    event_types.image_load: IMAGE_LOAD,
    event_types.image_rundown: IMAGE_LISTING,
    event_types.image_unload: IMAGE_UNLOAD,
}
_IMAGE_HOOKS: Final = 0x14
_IMAGE_LOAD_HOOK: Final = 0x030A
"""The upper byte of the hook ids of the kernel logger's image events, and the one that has another."""


class DecodedImages(NamedTuple):
    """Image events in columns: what each tells, and where in the window its name begins.

    Only where *plain* is set are the others valid.
    """

    plain: Flags
    kind: Numbers
    pid: Numbers
    base: Numbers
    size: Numbers
    name: Numbers


class Decoded(NamedTuple):
    """Events of one kind in columns; *rows* are their numbers among the records.

    *address* is the start address of a thread or the creation time of a process, where *has_address*. *parent* is
    None for threads. *name* is where the name of a process begins, in the window, and *text* the length of its
    names in bytes. All are None for images and for ends of threads.
    """

    rows: Numbers
    code: int
    provider: bytes
    pid: Numbers | None = None
    tid: Numbers | None = None
    address: Numbers | None = None
    parent: Numbers | None = None
    name: Numbers | None = None


def decode_columns(data: bytearray, headers: Headers, counts: Counter[str]) -> tuple[list[Decoded], Flags]:
    """Decode what is simple; return that, and which records `Decoder` must see.

    The rest are of no interest. *counts* is that of `Decoder`.
    """
    thread = (headers.provider == 0) & (headers.id >> 8 == _THREAD_HOOKS)
    left = ~(headers.plain & (_of_kernel_process(headers) | thread))
    found = []
    for event_type, version, pointer_size, rows in _by_layout(headers, ~left, THREAD):
        if not event_type.knows(version):
            left[rows] = True
            continue
        decoded, bad = _decode(data, headers, rows, event_type, version, pointer_size)
        left[bad] = True
        if len(decoded.rows):
            counts[event_type.kind] += len(decoded.rows)
            found.append(decoded)
    return found, left


def decode_images(data: bytearray, headers: Headers) -> DecodedImages:
    """Decode image events, those that `Decoder` would decode without a complaint."""
    count = len(headers.at)
    image = (headers.provider == 0) & ((headers.id >> 8 == _IMAGE_HOOKS) | (headers.id == _IMAGE_LOAD_HOOK))
    chosen = headers.plain & (_of_kernel_process(headers) | image)
    found = DecodedImages(
        np.zeros(count, np.bool_), *np.zeros((2, count), np.int64), *np.zeros((3, count), np.uint64)
    )
    words = np.frombuffer(data, np.uint32)
    for event_type, version, pointer_size, alike in _by_layout(headers, chosen, raw.IMAGE):
        if event_type.builder not in _IMAGE_KINDS:
            continue
        places, least, _ = event_type.fixed(event_type.latest(version), pointer_size)
        room = headers.at[alike] + headers.size[alike] - headers.body[alike]
        rows = alike[room > least]  # behind the fixed fields is the name
        pid, base, size, *_ = _columns(words, headers.body[rows], places, event_type.names)
        if pid is None or base is None or size is None:
            continue  # in the first version only the header has the process
        found.plain[rows] = True
        found.kind[rows] = _IMAGE_KINDS[event_type.builder]
        found.pid[rows], found.base[rows], found.size[rows] = pid, base, size
        found.name[rows] = headers.body[rows] + least
    return found


def _of_kernel_process(headers: Headers) -> Flags:
    found: Flags = (headers.provider == FIRST_OF_KERNEL_PROCESS) & (headers.rest == _REST_OF_KERNEL_PROCESS)
    return found


def _by_layout(
    headers: Headers, chosen: Flags, kernel_class: bytes
) -> Iterator[tuple[EventType, int, int, Numbers]]:
    """Yield the types of the *chosen* events with their versions and pointer sizes, and the rows of each.

    They are of Microsoft-Windows-Kernel-Process, or the kernel's own of *kernel_class*. Unknown types are left
    out.
    """
    manifest = (headers.provider != 0).astype(np.int64)
    key = manifest << 40 | headers.id << 20 | headers.version << 4 | headers.pointer_size
    key[~chosen] = _NOT_CHOSEN
    for one in np.unique(key).tolist():
        if one == _NOT_CHOSEN:
            continue
        event_id, version, pointer_size = one >> 20 & 0xFFFF, one >> 4 & 0xFFFF, one & 0xF
        event_type = (
            kernel_process.EVENTS.get(event_id)
            if one >> 40
            else system_trace.EVENTS[kernel_class].get(event_id & 0xFF)
        )
        if event_type is not None:
            yield event_type, version, pointer_size, np.flatnonzero(key == one)


def _decode(  # noqa: PLR0913, PLR0917 (what a kind of event is told apart by)
    data: bytearray, headers: Headers, rows: Numbers, event_type: EventType, version: int, pointer_size: int
) -> tuple[Decoded, Numbers]:
    """Return the events of *rows*, and the rows that are not simple."""
    code = _CODES[event_type.builder]
    provider = KERNEL_PROCESS if headers.provider[rows[0]] else THREAD
    if code == IMAGE:
        return Decoded(rows, code, provider), rows[:0]
    places, least, behind = event_type.fixed(version, pointer_size)
    body = headers.body[rows]
    room = headers.at[rows] + headers.size[rows] - body
    fine = room >= least
    name = None
    if behind:
        name, has_name = _names(data, body + least, room - least, behind)
        fine &= has_name
    bad, rows, body = rows[~fine], rows[fine], body[fine]
    if code == THREAD_STOP:
        return Decoded(rows, code, provider), bad
    words = np.frombuffer(data, np.uint32)
    columns = dict(zip(event_type.names, _columns(words, body, places, event_type.names), strict=True))
    pid, second, *more = columns.values()
    assert pid is not None
    if name is None:
        return Decoded(rows, code, provider, pid, second, more[0]), bad
    return Decoded(rows, code, provider, pid, None, columns["CreateTime"], second, name[fine]), bad


def _columns(
    words: Numbers, body: Numbers, places: dict[str, tuple[int, int]], names: tuple[str, ...]
) -> Iterator[Numbers | None]:
    """Yield the column of each of *names*, or None for one that is not at a fixed place."""
    for name in names:
        if name not in places:
            yield None
            continue
        offset, size = places[name]
        low = words[body + offset >> 2]
        yield low if size == 4 else low | words[body + offset + 4 >> 2].astype(np.uint64) << np.uint64(32)


def _names(data: bytearray, at: Numbers, room: Numbers, behind: tuple[str, ...]) -> tuple[Numbers, Flags]:
    """Return where the names are, behind a SID or at once, and which of them are there."""
    if behind[0] != "sid":
        return at, room > 0
    octets = np.frombuffer(data, np.uint8)
    fine = room >= 8
    head = np.where(fine, at, 0)
    parts = octets[head + 1].astype(np.int64)
    fine &= (octets[head] == 1) & (parts <= _LONGEST_SID) & (room > 8 + 4 * parts)
    return np.where(fine, at + 8 + 4 * parts, at), fine
