"""Takes records that nothing is made of out of chunks of .evtx, before they are parsed: most are of other events.

A chunk is thinned in place: each record that is wanted grows over those behind it, which no parser looks at then.
So offsets stay, which records use to refer to each other. Only what has the shape that Windows writes is thinned;
a chunk with anything else in it stays as it is. Layout: https://github.com/libyal/libevtx/blob/main/documentation.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from etwdetect.sources.sysmon import CHUNK_SIZE

if TYPE_CHECKING:
    from collections.abc import Collection

    import numpy.typing as npt

    Numbers = npt.NDArray[np.int64]
    Bytes = npt.NDArray[np.uint8]
    Flags = npt.NDArray[np.bool_]

_FIRST_RECORD: Final = 512
_FREE_SPACE: Final = 48
"""Where a chunk's header has the offset of the space that no record has taken."""
_RECORD_MAGIC: Final = 0x2A2A
_BEGINNING: Final = 38
"""Of a record: magic, size, number, time, the beginning of the event, and the id and the place of its template."""
_HEAD: Final = np.dtype(
    {
        "names": ["magic", "size", "fragment", "instance", "template"],
        "formats": ["<u4", "<u4", "<u4", "<u2", "<u4"],
        "offsets": [0, 4, 24, 28, 34],
        "itemsize": _BEGINNING,
    }
)
_FRAGMENT, _INSTANCE = 0x0001_010F, 0x010C
_U32: Final = np.dtype("<u4")
_TEMPLATE_HEADER: Final = 24
_SIZE_AT: Final = 20
"""Where a template has the size of what is behind its header."""
_EVENT_ID: Final = 3
"""The number of the value that is the event's id."""
_UINT16: Final = 6
_VALUES: Final = np.dtype([("count", "<u4"), ("level", "<u8"), ("ids", "<u8")])
_LEVEL: Final = 0x0004_0001_0004_0001
_IDS: Final = _UINT16 << 48 | 2 << 32 | _UINT16 << 16 | 2
"""Size and type of the values up to the id. Readers go by the one or the other, so both must be as usual."""
_EVENT_ID_AT: Final = 4
"""How many bytes of values are before it."""


def thin(data: bytearray, begin: int, chunk_count: int, wanted: Collection[int]) -> int:
    """Take out of the chunks in *data* from *begin* on the records that have no event of the ids *wanted*.

    Chunks without one go; of the others each keeps its first record. Return how many chunks there are left.
    """
    chunks = np.frombuffer(data, np.uint8)[begin : begin + chunk_count * CHUNK_SIZE]
    records, counts = _records(chunks)
    if not len(records):
        return chunk_count
    chunk = np.repeat(np.arange(chunk_count), counts)
    ids, is_usual = _event_ids(chunks, records)
    is_wanted = np.isin(ids, np.fromiter(wanted, np.int64))
    has_any = np.bincount(chunk[is_wanted], minlength=chunk_count) > 0
    is_thin = (np.bincount(chunk[~is_usual], minlength=chunk_count) == 0) & (counts > 0)
    kept = (is_wanted | _borders(chunk)[0]) & is_thin[chunk]
    _grow(chunks, records[kept], chunk[kept])
    stays = ~is_thin | has_any
    if not stays.all():
        rows = chunks.reshape(chunk_count, CHUNK_SIZE)
        rows[: np.count_nonzero(stays)] = rows[stays]
    return int(np.count_nonzero(stays))


def _records(chunks: Bytes) -> tuple[Numbers, Numbers]:
    """Return the offsets of the records in *chunks*, and how many each has: none where there are gaps.

    A record begins at a multiple of 8, with its magic and its size: looking for that takes a fifth of the time of
    going from one to the next. What only looks like one leaves a gap.
    """
    words = chunks.view("<u4")
    offsets = 8 * np.flatnonzero(words[::2] == _RECORD_MAGIC)
    begins = np.arange(0, len(chunks), CHUNK_SIZE)
    ends = begins + np.minimum(words[begins // 4 + _FREE_SPACE // 4], CHUNK_SIZE)
    chunk = offsets // CHUNK_SIZE
    inside = (offsets >= begins[chunk] + _FIRST_RECORD) & (offsets + _BEGINNING <= ends[chunk])
    offsets, chunk = offsets[inside], chunk[inside]
    first, last = _borders(chunk)
    following = np.where(last, ends[chunk], np.append(offsets[1:], 0))
    whole = offsets + words[offsets // 4 + 1] == following
    whole &= ~first | (offsets == begins[chunk] + _FIRST_RECORD)
    has_gap = np.zeros(len(begins), bool)
    has_gap[chunk[~whole]] = True
    offsets = offsets[~has_gap[chunk]]
    return offsets, np.bincount(offsets // CHUNK_SIZE, minlength=len(begins))


def _borders(chunk: Numbers) -> tuple[Flags, Flags]:
    """Return for each record, of which *chunk* has the chunk's number, if it is the first and the last in it."""
    differs = chunk[1:] != chunk[:-1]
    return np.append(True, differs)[: len(chunk)], np.append(differs, True)[-len(chunk) :]


def _event_ids(data: Bytes, records: Numbers) -> tuple[Numbers, Flags]:
    """Return the ids of the events at *records*, and which of these have the usual shape."""
    head = _at(data, records, _HEAD)
    usual = (head["fragment"] == _FRAGMENT) & (head["instance"] == _INSTANCE)
    usual &= head["template"] < CHUNK_SIZE - _TEMPLATE_HEADER
    begin = records - records % CHUNK_SIZE
    place = begin + np.where(usual, head["template"], 0)
    places = np.unique(place)
    known = np.array([_is_usual_template(data, each) for each in places.tolist()])
    usual &= known[np.searchsorted(places, place)]
    is_here = place == records + _BEGINNING
    behind = np.where(is_here & usual, _TEMPLATE_HEADER + _at(data, place + _SIZE_AT, _U32), 0)
    values = records + _BEGINNING + behind
    end = records + head["size"]
    usual &= values + _VALUES.itemsize <= np.minimum(end, len(data))
    described = _at(data, np.where(usual, values, 0), _VALUES)
    usual &= (described["level"] == _LEVEL) & (described["ids"] == _IDS)
    at = values + 4 + 4 * described["count"].astype(np.int64) + _EVENT_ID_AT
    usual &= (described["count"] > _EVENT_ID) & (at + 2 <= end)
    at = np.where(usual, at, 0)
    return _at(data, at, np.dtype("<u2")).astype(np.int64), usual


def _at(data: Bytes, places: Numbers, kind: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return what is at each of *places*, wherever they are."""
    return np.ndarray(len(data) - kind.itemsize + 1, kind, data, strides=(1,))[places]


def _is_usual_template(data: Bytes, place: int) -> bool:
    begin = place + _TEMPLATE_HEADER
    size = int.from_bytes(data[place + _SIZE_AT : begin].tobytes(), "little")
    return size < CHUNK_SIZE and _is_usual(data[begin : begin + size].tobytes(), begin % CHUNK_SIZE)


def _grow(data: Bytes, records: Numbers, chunk: Numbers) -> None:
    """Have each of *records* reach to the next one in its chunk, or to the end of all."""
    begin = chunk * CHUNK_SIZE
    ends = begin + np.minimum(_at(data, begin + _FREE_SPACE, _U32), CHUNK_SIZE)
    sizes = (np.where(_borders(chunk)[1], ends, np.append(records[1:], 0)) - records).astype("<u4")
    data[(records + 4)[:, None] + np.arange(4)] = sizes.view(np.uint8).reshape(-1, 4)


# -- the template of events

_OPEN, _OPEN_WITH_ATTRIBUTES, _CLOSE, _CLOSE_EMPTY, _END = 0x01, 0x41, 0x02, 0x03, 0x04
_VALUE, _ATTRIBUTE, _ONE_MORE_ATTRIBUTE = 0x05, 0x06, 0x46
_SUBSTITUTION, _OPTIONAL = 0x0D, 0x0E
_TEXT: Final = 1
_PATH: Final = ["Event", "System", "EventID"]


@lru_cache(maxsize=64)  # that of the next chunk has the same bytes, at the same place
def _is_usual(template: bytes, offset: int) -> bool:
    """Whether *template*, at *offset* in its chunk, has the value _EVENT_ID alone as its first EventID."""
    try:
        return _walk(template, offset)
    except (IndexError, UnicodeDecodeError):
        return False


def _walk(template: bytes, offset: int) -> bool:
    path: list[str] = []
    at = 4  # behind the beginning of a fragment
    while True:
        token = template[at]
        at += 1
        if token in {_OPEN, _OPEN_WITH_ATTRIBUTES}:
            name, at = _name(template, at + 6, offset)
            path.append(name)
            at += 4 * (token == _OPEN_WITH_ATTRIBUTES)
        elif token in {_ATTRIBUTE, _ONE_MORE_ATTRIBUTE}:
            at = _name(template, at, offset)[1]
        elif token == _CLOSE:
            if path[-1] == _PATH[-1]:
                wanted = bytes((_OPTIONAL, _EVENT_ID, 0, _UINT16, _END))
                return path == _PATH and template[at : at + len(wanted)] == wanted
        elif token in {_CLOSE_EMPTY, _END}:
            if path.pop() == _PATH[-1]:
                return False
        elif token == _VALUE and template[at] == _TEXT:
            at += 3 + 2 * int.from_bytes(template[at + 1 : at + 3], "little")
        elif token in {_SUBSTITUTION, _OPTIONAL}:
            at += 3
        else:
            return False


def _name(template: bytes, at: int, offset: int) -> tuple[str, int]:
    """Return the name that is told at *at*, and where it ends. IndexError where it is not here."""
    begin = at + 4
    if int.from_bytes(template[at:begin], "little") != offset + begin:
        raise IndexError
    end = begin + 8 + 2 * int.from_bytes(template[begin + 6 : begin + 8], "little")
    return template[begin + 8 : end].decode("utf-16-le"), end + 2
