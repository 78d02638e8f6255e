"""The walk over the records of many buffers: the one narrow place where all of a trace's bytes go by.

A buffer is walked record by record, from its start to its end, because nothing else tells where a record
begins. One Python step a record costs about 0.4 µs. Where there are many buffers they are walked in step,
one record of each at a time, as one numpy operation on all of them; whatever is not plain about a buffer is
left to the walk by single steps, which alone says what is wrong.
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
    """For each buffer still walked: where a record begins, its first 8 bytes, and which buffer that is."""

WIDE: Final = 96
"""From how many buffers on it pays to load numpy (a tenth of a second)."""

NARROW: Final = 24
"""Below how many buffers in step single steps are faster."""


_FIND: Final = 1
_ASIDE: Final = 2
"""What to do with the records of a hook id; of others, nothing."""


class Span(NamedTuple):
    """Where the records of one buffer lie: from *start* to *end*, *start* being a multiple of 8."""

    start: int
    end: int


class Wanted:
    """What to find: kernel records by hook id, others by provider GUID; and kernel records to put *aside*.

    Of a GUID only the first 8 bytes are compared here: whoever reads a record looks at all 16.
    """

    def __init__(self, hooks: Iterable[int], guids: Iterable[bytes], aside: Iterable[int] = ()) -> None:
        table = bytearray(1 << 16)
        for hook in hooks:
            table[hook] = _FIND
        for hook in aside:
            table[hook] = _ASIDE
        self.hooks = bytes(table)
        self.guids = frozenset(guid[:8] for guid in guids)


@dataclass
class Walk:
    """What a walk saw: how many records, where the wanted ones are, and where a buffer made no sense."""

    records: int = 0
    found: list[int] = field(default_factory=list)
    aside: list[int] = field(default_factory=list)
    broken: list[tuple[int, str]] = field(default_factory=list)


def walk(data: bytearray, spans: list[Span], wanted: Wanted) -> Walk:
    """Walk the records of the buffers at *spans* in *data*, whose length is a multiple of 8.

    Never raises for what the data holds. *found*, *aside* and *broken* are in ascending order.
    """
    result = Walk()
    rest = [span for span in spans if span.end % ALIGNMENT] if len(spans) >= WIDE else spans
    if rest is not spans:
        rest += _walk_in_step(data, [span for span in spans if not span.end % ALIGNMENT], wanted, result)
    for span in rest:
        _walk_one(data, span, wanted, result)
    result.found.sort()
    result.aside.sort()
    result.broken.sort()
    return result


def _walk_one(data: bytearray, span: Span, wanted: Wanted, result: Walk) -> None:
    at, end = span
    unpack, kinds, header_sizes = START.unpack_from, KINDS, HEADER_SIZES
    none, hooked, named = int(Kind.NONE), int(Kind.HOOKED), int(Kind.NAMED)
    hooks, guids = wanted.hooks, wanted.guids
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
                (result.found if hooks[hook] == _FIND else result.aside).append(at)
        elif kind == named and bytes(data[at + 24 : at + 32]) in guids:
            result.found.append(at)
        records += 1
        at += size + 7 & -ALIGNMENT
    result.records += records


def _fault(kind: int, marker: int, size: int, room: int) -> str:
    if kind == Kind.NONE:
        return f"no record begins with the marker {marker:#06x}"
    if size > room:
        return f"a record of {size} bytes reaches past the end of its buffer, {room} bytes on"
    return f"a record of {size} bytes is smaller than its header"


def _walk_in_step(data: bytearray, spans: list[Span], wanted: Wanted, result: Walk) -> list[Span]:
    """Walk all buffers in step; return what is left: the last few, and buffers whose bytes are not plain.

    The steps only collect where the records begin, each step at least 8 bytes on, so they end whatever the
    bytes are. All that was collected is then judged at once.
    """
    import numpy as np  # noqa: PLC0415 (small traces start faster without it)

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
    doubtful = _judge(words, steps, spans, wanted, result) if steps else set()
    rests = zip(buffer.tolist(), (at * 8).tolist(), strict=True)
    left = [Span(start, spans[index].end) for index, start in rests if index not in doubtful]
    return left + [spans[index] for index in doubtful]


def _judge(words: Words, steps: list[Step], spans: list[Span], wanted: Wanted, result: Walk) -> set[int]:
    """Count the records of all *steps* and find the wanted ones; return the buffers whose bytes are not plain.

    Of those nothing is counted.
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
    named = at[kind == int(Kind.NAMED)]
    providers = np.frombuffer(b"".join(wanted.guids), np.uint64)
    result.found.extend((named[np.isin(words[named + 3], providers)] * 8).tolist())
    return doubtful
