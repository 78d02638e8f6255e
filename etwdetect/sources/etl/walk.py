"""The walk over the records of many buffers: the hot loop that all bytes of a trace pass.

A buffer is walked record by record from its start, because only the previous record gives the offset of the next.
One Python step per record takes about 0.4 µs. Many buffers are walked in step, one record of each at a time, as
one numpy operation on all; a buffer with anything unusual is left to the walk by single steps, which reports what
is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from etwdetect.sources.etl.records import ALIGNMENT, FILL, HEADER_SIZES, KINDS, START, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np

    Words = np.ndarray[tuple[int], np.dtype[np.uint64]]
    Positions = np.ndarray[tuple[int], np.dtype[np.int64]]
    Step = tuple[Positions, Words, Positions]
    """For each buffer still walked: the offset of a record, its first 8 bytes, and the number of the buffer."""

WIDE: Final = 96
"""The number of buffers from which loading numpy (0.1 s) pays off."""

NARROW: Final = 24
"""The number of buffers below which single steps are faster."""


_FIND: Final = 1
_ASIDE: Final = 2
_STACK: Final = 3
"""What to do with the records of a hook id; 0 for nothing."""


class Span(NamedTuple):
    """The range of one buffer's records, from *start*, a multiple of 8, to *end*."""

    start: int
    end: int


class Wanted:
    """The records to find: kernel records by hook id, others by provider GUID; and kernel records to put aside.

    Those are of two kinds, *aside* and *stacks*.

    Only the first 8 bytes of a GUID are compared here; the decoder compares all 16.
    """

    def __init__(
        self,
        hooks: Iterable[int],
        guids: Iterable[bytes],
        aside: Iterable[int] = (),
        stacks: Iterable[int] = (),
    ) -> None:
        table = bytearray(1 << 16)
        for hook in hooks:
            table[hook] = _FIND
        for hook in aside:
            table[hook] = _ASIDE
        for hook in stacks:
            table[hook] = _STACK
        self.hooks = bytes(table)
        self.guids = frozenset(guid[:8] for guid in guids)


@dataclass
class Walk:
    """The result of a walk: the number of records, the offsets of the wanted ones, and the damaged places."""

    records: int = 0
    found: list[int] = field(default_factory=list)
    aside: list[int] = field(default_factory=list)
    stacks: list[int] = field(default_factory=list)
    broken: list[tuple[int, str]] = field(default_factory=list)


def walk(data: bytearray, spans: list[Span], wanted: Wanted) -> Walk:
    """Walk the records of the buffers at *spans* in *data*, whose length is a multiple of 8.

    Never raises, whatever the data. *found*, *aside*, *stacks* and *broken* are in ascending order.
    """
    result = Walk()
    rest = [span for span in spans if span.end % ALIGNMENT] if len(spans) >= WIDE else spans
    if rest is not spans:
        rest += _walk_in_step(data, [span for span in spans if not span.end % ALIGNMENT], wanted, result)
    for span in rest:
        _walk_one(data, span, wanted, result)
    result.found.sort()
    result.aside.sort()
    result.stacks.sort()
    result.broken.sort()
    return result


def _walk_one(data: bytearray, span: Span, wanted: Wanted, result: Walk) -> None:
    at, end = span
    unpack, kinds, header_sizes = START.unpack_from, KINDS, HEADER_SIZES
    none, hooked, named = int(Kind.NONE), int(Kind.HOOKED), int(Kind.NAMED)
    hooks, guids = wanted.hooks, wanted.guids
    places = {_FIND: result.found, _ASIDE: result.aside, _STACK: result.stacks}
    records = 0
    while at + START.size <= end:
        size, marker, size_if_hooked, hook = unpack(data, at)
        kind = kinds[marker]
        if kind == hooked:
            size = size_if_hooked
        if size < header_sizes[marker] or at + size > end or kind == none:
            if data[at : at + len(FILL)] != FILL:
                result.broken.append((at, _fault(kind, marker, size, end - at)))
            break
        if kind == hooked:
            if hooks[hook]:
                places[hooks[hook]].append(at)
        elif kind == named and bytes(data[at + 24 : at + 32]) in guids:
            result.found.append(at)
        records += 1
        at += size + 7 & -ALIGNMENT
    result.records += records


def _fault(kind: int, marker: int, size: int, room: int) -> str:
    if kind == Kind.NONE:
        return f"no record type has the marker {marker:#06x}"
    if size > room:
        return f"a record of {size} bytes exceeds the {room} bytes left in its buffer"
    return f"a record of {size} bytes is smaller than its header"


def _walk_in_step(data: bytearray, spans: list[Span], wanted: Wanted, result: Walk) -> list[Span]:
    """Walk all buffers in step; return what is left: the last few buffers, and those with anything unusual.

    The steps only collect the offsets of records. Each advances at least 8 bytes, so they end whatever the data.
    All records are then checked at once.
    """
    import numpy as np  # noqa: PLC0415 (lazy import: fast start-up for small traces)

    words = np.frombuffer(data, np.uint64)
    hooked = np.frombuffer(KINDS, np.uint8) == int(Kind.HOOKED)
    at = np.array([span.start for span in spans], np.int64) >> 3  # in words of 8 bytes
    end = np.array([span.end for span in spans], np.int64) >> 3
    buffer = np.arange(len(spans))
    steps = []
    while len(at) >= NARROW:
        in_room = at < end
        if not in_room.all():
            at, end, buffer = at[in_room], end[in_room], buffer[in_room]
            continue
        word = words[at]
        steps.append((at, word, buffer))
        start = word.view(np.uint16).reshape(-1, 4)
        size = np.where(hooked[start[:, 1]], start[:, 2], start[:, 0]).astype(np.int64)
        at = at + np.maximum(size + 7 >> 3, 1)
    doubtful = _check_records(words, steps, spans, wanted, result) if steps else set()
    rests = zip(buffer.tolist(), (at * 8).tolist(), strict=True)
    left = [Span(start, spans[index].end) for index, start in rests if index not in doubtful]
    return left + [spans[index] for index in doubtful]


def _check_records(words: Words, steps: list[Step], spans: list[Span], wanted: Wanted, result: Walk) -> set[int]:
    """Count the records of all *steps* and find the wanted ones; return the numbers of the unusual buffers.

    Nothing in those is counted.
    """
    import numpy as np  # noqa: PLC0415

    at, word, buffer = map(np.concatenate, zip(*steps, strict=True))
    start = word.view(np.uint16).reshape(-1, 4)
    marker = start[:, 1]
    kind = np.frombuffer(KINDS, np.uint8)[marker]
    hooked = kind == int(Kind.HOOKED)
    size = np.where(hooked, start[:, 2], start[:, 0])
    end = np.array([span.end for span in spans], np.int64)
    strange = (
        (kind == int(Kind.NONE))
        | (size < np.frombuffer(HEADER_SIZES, np.uint8)[marker])
        | (at * 8 + size > end[buffer])
    )
    doubtful: set[int] = set()
    if strange.any():
        doubtful.update(buffer[strange].tolist())
        sure = ~np.isin(buffer, list(doubtful))
        at, start, kind, hooked = at[sure], start[sure], kind[sure], hooked[sure]
    result.records += len(at)
    hook = np.where(hooked, np.frombuffer(wanted.hooks, np.uint8)[start[:, 3]], 0)
    result.found.extend((at[hook == _FIND] * 8).tolist())
    result.aside.extend((at[hook == _ASIDE] * 8).tolist())
    result.stacks.extend((at[hook == _STACK] * 8).tolist())
    named = at[kind == int(Kind.NAMED)]
    providers = np.frombuffer(b"".join(wanted.guids), np.uint64)
    result.found.extend((named[np.isin(words[named + 3], providers)] * 8).tolist())
    return doubtful
