"""Where the image events of each process are, looked through in columns: for traces with many of them.

The events of each block are put in order of their processes, so that those of one are read at once.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from etwdetect.core.events import ImageLoad, ImageUnload
from etwdetect.enrich.image_columns import ImageColumns
from etwdetect.offline.deferred_images import NOBODY, Part
from etwdetect.sources.decode import Decoder
from etwdetect.sources.decode.columns import decode_images
from etwdetect.sources.decode.layout import ORDINARY, utf16
from etwdetect.sources.etl.headers import read_headers

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from etwdetect.offline.deferred_images import Block, DeferredImages
    from etwdetect.sources.etl.clock import ClockConversion
    from etwdetect.sources.etl.headers import Numbers

_MOST_NAMES: Final = 4096
"""How many names are remembered."""
_PADDING: Final = bytes(64)
"""Behind records, so that the fields of a long header may be looked for in a short one."""


class _Group(NamedTuple):
    """The events of one block in order of their processes: ids, FILETIMEs, places, and where the last ends."""

    pid: Numbers
    time: Numbers
    at: Numbers
    start: int


class _Found(NamedTuple):
    """The events of one process in time order: FILETIMEs, places, and where each ends."""

    time: Numbers
    at: Numbers
    end: Numbers


class ImageIndex:
    """Where the events of each process are, the events being in *blocks* of *images*.

    At most *most* are known, and *most_of_one* of one process; the `cut` of *images* says that there were more.
    """

    def __init__(self, images: DeferredImages, blocks: Iterator[Block], most: int, most_of_one: int) -> None:
        self._images = images
        self._most = most
        self._most_of_one = most_of_one
        self._count = 0
        self._of_each: dict[int, int] = {}
        """How many events of each process are known."""
        self._clock: ClockConversion | None = None
        self._groups: list[_Group] = []
        clocks = set()
        for block in blocks:
            if len(block.places):
                clocks.add(block.clock)
                self._groups.append(self._group(block))
        if len(clocks) == 1:
            self._clock = clocks.pop()
        self._latest: tuple[int, _Found] | None = None
        self._names: dict[bytes, str] = {}
        self._decoder = Decoder(lambda *_: None, images=True)

    def processes(self) -> Collection[int]:
        """Return the ids of the processes that have events."""
        return self._of_each.keys()

    def places(self, pid: int) -> Sequence[int]:
        """Return the places of the events of *pid*, in time order."""
        places: list[int] = self._find(pid).at.tolist()
        return places

    def part(self, pid: int, first: int, most: int) -> Part:
        """Return at most so many events of *pid*, in time order, from number *first* on."""
        found = _Found(*(column[first : first + most] for column in self._find(pid)))
        columns = self._columns(pid, found) if self._clock is not None and len(found.at) else None
        return Part(first, array("q", found.time.tobytes()), array("q", found.at.tobytes()), columns)

    def _group(self, block: Block) -> _Group:
        """Put the events of *block* in order of their processes; those that are not known come last."""
        pid, time = self._look_through(block)
        self._limit(pid)
        order = np.argsort(np.where(pid == NOBODY, np.iinfo(np.int64).max, pid), kind="stable")
        ids, counts = np.unique(pid[pid != NOBODY], return_counts=True)
        for each, count in zip(ids.tolist(), counts.tolist(), strict=True):
            self._of_each[each] = self._of_each.get(each, 0) + count
        known = int(counts.sum())
        self._count += known
        places = np.frombuffer(block.places, np.uint32)
        ends = np.append(places[1:], np.uint32(len(block.data)))
        moved = np.zeros(len(order) + 1, np.uint32)
        size = (ends - places)[order]
        np.cumsum(size, out=moved[1:])
        words = np.repeat((places[order].astype(np.int64) - moved[:-1]) >> 3, size >> 3)
        words += np.arange(len(words))
        self._images.replace(block.start, np.frombuffer(block.data, np.uint64)[words].tobytes())
        chosen = order[:known]
        return _Group(pid[chosen].astype(np.uint32), time[chosen], moved[: known + 1], block.start)

    def _look_through(self, block: Block) -> tuple[Numbers, Numbers]:
        """Return the process id of each event in *block*, or NOBODY, and its FILETIME."""
        places = np.frombuffer(block.places, np.uint32).astype(np.int64)
        pid, time = np.full(len(places), NOBODY, np.int64), np.zeros(len(places), np.int64)
        rest = np.ones(len(places), np.bool_)
        if block.clock is not None:
            data = bytearray(block.data)
            data += _PADDING
            headers = read_headers(data, places, block.clock)
            decoded = decode_images(data, headers)
            pid[decoded.plain], time[decoded.plain] = decoded.pid[decoded.plain], headers.time[decoded.plain]
            rest = ~decoded.plain
        for number in np.flatnonzero(rest).tolist():
            time[number], pid[number] = self._images.start_of(block, block.places[number])
        return pid, time

    def _limit(self, pid: Numbers) -> None:
        """Make what is beyond the limits nobody's."""
        known = pid != NOBODY
        if self._count + len(pid) > self._most_of_one:
            order = np.argsort(pid, kind="stable")
            ids, begins, counts = np.unique(pid[order], return_index=True, return_counts=True)
            before = np.array([self._of_each.get(each, 0) for each in ids.tolist()], np.int64)
            number = np.arange(len(pid)) + np.repeat(before - begins, counts)
            known[order[number >= self._most_of_one]] = False
        room = self._most - self._count
        if np.count_nonzero(known) > room:
            known[np.flatnonzero(known)[room:]] = False
        self._images.cut |= bool(np.any(pid[~known] != NOBODY))
        pid[~known] = NOBODY

    def _find(self, pid: int) -> _Found:
        if self._latest is None or self._latest[0] != pid:
            parts = [_Found(*np.zeros((3, 0), np.int64))]
            for group in self._groups if pid in self._of_each else ():
                first, last = (np.searchsorted(group.pid, np.uint32(pid), side) for side in ("left", "right"))
                if first < last:
                    at = group.at[first : last + 1].astype(np.int64) + group.start
                    parts.append(_Found(group.time[first:last], at[:-1], at[1:]))
            found = _Found(*(np.concatenate(column) for column in zip(*parts, strict=True)))
            order = np.argsort(found.time, kind="stable")
            self._latest = pid, _Found(*(column[order] for column in found))
        return self._latest[1]

    def _columns(self, pid: int, found: _Found) -> ImageColumns | None:
        """Return the events that were *found* in columns, where all of them are simple."""
        order = np.argsort(found.at)
        at, end = found.at[order], found.end[order]
        firsts = np.flatnonzero(np.concatenate(([True], at[1:] != end[:-1])))
        lasts = np.append(firsts[1:], len(at)) - 1
        data = bytearray().join(
            self._images.bytes_at(begin, until - begin)
            for begin, until in zip(at[firsts].tolist(), end[lasts].tolist(), strict=True)
        )
        data += _PADDING
        places = np.empty(len(at), np.int64)
        places[order] = np.cumsum(end - at) - (end - at)
        assert self._clock is not None
        headers = read_headers(data, places, self._clock)
        decoded = decode_images(data, headers)
        if not decoded.plain.all():
            return None
        texts, begins, ends = bytes(data), decoded.name, headers.at + headers.size

        def names_of(first: int, last: int) -> list[str]:
            bounds = zip(begins[first:last].tolist(), ends[first:last].tolist(), strict=True)
            return self._named([texts[begin:until] for begin, until in bounds])

        columns = decoded.kind, decoded.base, decoded.size
        return ImageColumns(pid, found.time, *columns, found.at, self._event, names_of)

    def _named(self, texts: list[bytes]) -> list[str]:
        """Return the names that *texts* begin with; one image is mapped by many processes."""
        known = self._names
        found = list(map(known.get, texts))
        if None in found:
            for text in texts:
                if text not in known and len(text) <= ORDINARY:
                    if len(known) >= _MOST_NAMES:
                        known.clear()
                    known[text] = utf16(text)[0]
            return [known.get(text) or utf16(text)[0] for text in texts]
        return [name for name in found if name is not None]

    def _event(self, place: int) -> ImageLoad | ImageUnload:
        """Return the simple event at *place*."""
        event = self._decoder.decode(self._images.at(place))
        assert isinstance(event, ImageLoad | ImageUnload)
        return event
