"""The walk over the records of many buffers: the hot loop that all bytes of a trace pass.

A buffer is walked record by record from its start, because only the previous record gives the offset of the next.
One Python step per record takes about 0.4 µs. Many buffers are walked in step, one record of each at a time, as
one numpy operation on all; a buffer with anything unusual is left to the walk by single steps, which reports what
is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

from etwdetect.sources.etl.records import ALIGNMENT, FILL, HEADER_SIZES, KINDS, START, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    import numpy.typing as npt

    Words = npt.NDArray[np.uint64]
    Positions = npt.NDArray[np.int64]
    Parts = npt.NDArray[np.uint16]
    Octets = npt.NDArray[np.uint8]
    Flags = npt.NDArray[np.bool_]

WIDE: Final = 96
"""The number of buffers from which loading numpy (0.1 s) pays off."""

NARROW: Final = 16
"""The number of buffers below which single steps are faster."""

_STEPS: Final = 32
"""How many steps are taken before their records are checked."""
_ROUND_UP: Final = 7 | 7 << 32
"""Added to the first 8 bytes of a record so that its size, in either place, is rounded up to words."""
_MOST_WORDS: Final = 0x1FFF
_HOOKED: Final = 32 + 3
"""How far the first 8 bytes of a kernel record are shifted for its size in words; 3 for others."""
_LONGEST: Final = 65_000
"""The bytes behind its header of the longest record that is walked in step."""
_SHORT_NAMED: Final = 48
_LONG_NAMED: Final = 80
"""The sizes of the headers that name a provider, and of no others."""

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
    """Walk all buffers in step; return what is left of the last few, and of those with anything unusual.

    Some steps at a time only collect where records begin: each finds the size of one record of every buffer, in
    few operations on arrays that fit into a processor's cache. Then those are checked at once. A buffer that is at
    its end stays there or strays, which the check tells; one with an unusual record is left from before these
    steps on.
    """
    import numpy as np  # noqa: PLC0415 (lazy import: fast start-up for small traces)

    words = np.frombuffer(data, np.uint64)
    shifts, headers = _tables()
    at = np.array([span.start for span in spans], np.int64) >> 3  # in words of 8 bytes
    end = np.array([span.end for span in spans], np.int64) >> 3
    buffer = np.arange(len(spans))
    left: list[Span] = []
    finds = _Finds(words, wanted)
    # Beside an array, an array without a dimension takes half the time of a scalar.
    round_up, most_words = np.array(_ROUND_UP, np.uint64), np.array(_MOST_WORDS, np.uint64)
    add, shift_right, keep = np.add, np.right_shift, np.bitwise_and
    place = np.empty((0, 0), np.int64)
    while len(at) >= NARROW:
        if place.shape[1] != len(at):
            place = np.empty((_STEPS + 1, len(at)), np.int64)
            word, shift = np.empty((2, _STEPS, len(at)), np.uint64)
            parts = word.view(np.uint16).reshape(_STEPS, len(at), 4)
            size = np.empty(len(at), np.uint64)
            steps = list(zip(place, word, parts[:, :, 1], shift, place[1:], strict=False))
            in_words = size.view(np.int64)
        place[0] = at
        for here, first, marker, far, there in steps:
            words.take(here, None, first, "clip")
            shifts.take(marker, None, far, "clip")
            add(first, round_up, size)
            shift_right(size, far, size)
            keep(size, most_words, size)
            add(here, in_words, there)
        header = headers.take(parts[:, :, 1])
        sizes = word >> (shift - np.uint64(3)) & np.uint64(0xFFFF)
        live = place[:-1] < end
        strange = (sizes - header > _LONGEST) | (place[1:] > end)
        strange &= live
        goes_on = place[-1] < end
        if strange.any():
            doubtful = strange.any(axis=0)
            bounds = zip(buffer[doubtful].tolist(), (at[doubtful] * 8).tolist(), strict=True)
            left += [Span(start, spans[index].end) for index, start in bounds]
            live &= ~doubtful
            goes_on &= ~doubtful
        result.records += int(np.count_nonzero(live))
        finds.look_at(place[:-1], parts, header, shift == _HOOKED, live)
        at, end, buffer = place[-1][goes_on], end[goes_on], buffer[goes_on]
    finds.give(result)
    rests = zip(buffer.tolist(), (at * 8).tolist(), strict=True)
    return left + [Span(start, spans[index].end) for index, start in rests]


@cache
def _tables() -> tuple[Words, Octets]:
    """Return by marker: how far to shift a record's first 8 bytes for its size in words, and its header's size.

    What is not a record has a size of 0 or 1, and a header larger than that.
    """
    import numpy as np  # noqa: PLC0415

    kinds = np.frombuffer(KINDS, np.uint8)
    shifts = np.full(len(kinds), 3, np.uint64)
    shifts[kinds == int(Kind.HOOKED)] = _HOOKED
    shifts[kinds == int(Kind.NONE)] = 63
    headers = np.frombuffer(HEADER_SIZES, np.uint8).copy()
    headers[kinds == int(Kind.NONE)] = 255
    return shifts, headers


class _Finds:
    """Collects the records among those of many buffers in *words* that may be wanted."""

    def __init__(self, words: Words, wanted: Wanted) -> None:
        import numpy as np  # noqa: PLC0415

        self._words = words
        self._hooks = np.frombuffer(wanted.hooks, np.uint8)
        self._providers = np.frombuffer(b"".join(wanted.guids), np.uint64)
        self._hooked = [np.zeros(0, np.int64)]
        self._kinds = [np.zeros(0, np.uint8)]
        self._named = [np.zeros(0, np.int64)]

    def look_at(self, place: Positions, parts: Parts, header: Octets, hooked: Flags, live: Flags) -> None:
        """Look at records, each the parts of its first 8 bytes, those that are *live*."""
        kinds = self._hooks.take(parts[:, :, 3])
        kinds *= hooked
        kinds *= live
        (found,) = kinds.ravel().nonzero()
        if len(found):
            self._hooked.append(place.ravel()[found])
            self._kinds.append(kinds.ravel()[found])
        named = ((header == _SHORT_NAMED) | (header == _LONG_NAMED)) & live
        if named.any():
            self._named.append(place[named])

    def give(self, result: Walk) -> None:
        """Add the records to *result*."""
        import numpy as np  # noqa: PLC0415

        hooked, kinds = np.concatenate(self._hooked), np.concatenate(self._kinds)
        named = np.concatenate(self._named)
        named = named[np.isin(self._words[named + 3], self._providers)]
        for place, places in (
            (np.concatenate((hooked[kinds == _FIND], named)), result.found),
            (hooked[kinds == _ASIDE], result.aside),
            (hooked[kinds == _STACK], result.stacks),
        ):
            places.extend((np.sort(place) * 8).tolist())
