"""Defers image events, undecoded, until a remote thread needs those of its processes.

There are many image events, and most belong to processes without a remote thread. Which ones are needed is known
only after the rule has seen all events in order. So they are stored in as few steps as possible: in memory up to
a limit, beyond it in an anonymous temporary file.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from itertools import accumulate, takewhile
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

from etwdetect.core.filetime import LAST_FILETIME
from etwdetect.core.raw import RawEvent
from etwdetect.offline.spilled import SpilledBytes
from etwdetect.sources.decode import image_pid
from etwdetect.sources.etl import records

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from etwdetect.core.events import Event
    from etwdetect.enrich.image_columns import ImageColumns
    from etwdetect.offline.image_index import ImageIndex
    from etwdetect.sources.etl.clock import ClockConversion

DEFAULT_LIMIT: Final = 8 << 20
"""How many bytes are kept in memory."""

MOST_PLACES: Final = 1 << 21
"""How many events are indexed by process: 32 MiB."""

MOST_OF_ONE: Final = 1 << 18
"""How many events of one process id are indexed."""

MANY: Final = 1 << 13
"""From how many events on they are looked through in columns: loading numpy takes as long as decoding these."""

_AT_ONCE: Final = 256
"""How many records are copied in one step."""
_READ_AHEAD: Final = 8 << 10
"""How many bytes of the file are read at once: the events of a process lie together in each block."""
NOBODY: Final = -1
"""In place of the process id of an event that has none, or no valid time stamp."""
_HEAD: Final = Struct("<4xIHHBBqIQ16s2x")
"""Before the payload of a parsed event: 0, as no record has there, the size of it all, and the header's fields."""


class Block(NamedTuple):
    """The bytes of events, which are at *places* in them, and begin at *start* among all that were put aside.

    *clock* converts the time stamps of the records among them.
    """

    start: int
    data: bytes | bytearray
    places: array[int]
    clock: ClockConversion | None


class Part(NamedTuple):
    """Events of one process from number *first* on, in time order: their FILETIMEs and places.

    *columns* are the same events, where they can be told in columns, *events* where they are decoded.
    """

    first: int
    times: Sequence[int]
    places: Sequence[int]
    columns: ImageColumns | None = None
    events: Sequence[Event | None] | None = None


class DeferredImages(SpilledBytes):
    """Takes the image events of traces in any order, and yields those of a process in time order.

    `cut` says that there were too many to index, `damaged` that some had no valid time stamp. Records are kept as
    they are, each padded to 8 bytes.
    """

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        super().__init__(limit)
        self.cut = False
        self.damaged = False
        self.hooks: Counter[int] = Counter()
        """How many kernel records were taken, by their hook id."""
        self._count = 0
        self._clock: ClockConversion | None = None
        self._places = array("I")
        """Where the events are in the buffer."""
        self._in_blocks: list[tuple[int, int, ClockConversion | None]] = []
        """Of each block in the file: where it begins, how many events it has, and their clock."""
        self._index: _Index | ImageIndex | None = None
        self._window = b""
        """The bytes of the file that were read last, and where they begin."""
        self._window_start = 0

    def begin(self, clock: ClockConversion) -> None:
        """Take that records follow whose time stamps *clock* converts. OSError as from `take`."""
        if self._buffer:
            self._spill()
        self._clock = clock

    def add(self, raw: RawEvent) -> None:
        """Take one event; OSError where the temporary file can't be written."""
        provider, event_id, version, opcode, time, pid, _, pointer_size, payload, offset, *_ = raw
        size = _HEAD.size + len(payload)
        self._count += 1
        self._places.append(len(self._buffer))
        self._buffer += _HEAD.pack(size, event_id, version, opcode, pointer_size, time, pid, offset, provider)
        self._buffer += payload + bytes(-size % records.ALIGNMENT)
        if len(self._buffer) >= self._limit:
            self._spill()

    def take(self, data: bytearray, places: Sequence[int]) -> None:
        """Take the kernel's own records at *places* in a window, which are multiples of 8.

        OSError where the temporary file can't be written.
        """
        with memoryview(data).cast("H") as words:
            self.hooks.update([words[at + 6 >> 1] for at in places])
        self._copy(data, places, hooked=True)

    def keep(self, data: bytearray, places: Sequence[int]) -> None:
        """Take records of a provider with a manifest, and do not count them; OSError as from `take`."""
        self._copy(data, places, hooked=False)

    def _copy(self, data: bytearray, places: Sequence[int], *, hooked: bool) -> None:
        for first in range(0, len(places), _AT_ONCE):
            found, sizes = records.padded(data, places[first : first + _AT_ONCE], hooked=hooked)
            self._places.extend(accumulate(sizes[:-1], initial=len(self._buffer)))
            self._count += len(sizes)
            self._buffer += found
            if len(self._buffer) >= self._limit:
                self._spill()

    def _spill(self) -> None:
        self._in_blocks.append((self._in_file, len(self._places), self._clock))
        self._buffer += self._places.tobytes()
        self._buffer += bytes(-len(self._buffer) % records.ALIGNMENT)
        self._places = array("I")
        super()._spill()

    def __len__(self) -> int:
        """How many events were added."""
        return self._count

    def processes(self) -> Collection[int]:
        """Return the ids of the processes whose events `of` yields."""
        return self._indexed().processes()

    def __iter__(self) -> Iterator[RawEvent]:
        """Yield all events in the order in which they were added; call it before `of`.

        Events without a valid time stamp are left out.
        """
        for block in self._all_blocks():
            for at in block.places:
                try:
                    yield _event(block.data, at, block.clock)
                except ValueError:
                    self.damaged = True

    def of(self, pid: int, first: int = 0) -> Iterator[RawEvent]:
        """Yield the events of process *pid* in time order, without the ones before number *first*.

        Events of equal times keep the order in which they were added. No event may be added afterwards.
        """
        return map(self.at, self._indexed().places(pid)[first:])

    def between(self, pid: int, since: int, until: int) -> Iterator[RawEvent]:
        """Yield the events of process *pid* from the FILETIME *since* to *until*, as `of` does."""
        places = self._indexed().places(pid)
        first = bisect_left(places, since, key=lambda place: self.at(place).time)
        return takewhile(lambda raw: raw.time <= until, self.of(pid, first))

    def part(self, pid: int, first: int, most: int) -> Part:
        """Return the events of process *pid* in time order from number *first* on, at most so many."""
        return self._indexed().part(pid, first, most)

    def at(self, place: int) -> RawEvent:
        """Return the event at *place*."""
        if place >= self._in_file:
            return _event(self._buffer, place - self._in_file, self._clock)
        clock = self._in_blocks[bisect_right(self._in_blocks, place, key=lambda block: block[0]) - 1][2]
        at = place - self._window_start
        has_head = 0 <= at <= len(self._window) - records.START.size
        if not has_head or at + size_of(self._window, at) > len(self._window):
            self._window, self._window_start, at = self._read(place, _READ_AHEAD), place, 0
            size = size_of(self._window, 0)
            if size > len(self._window):
                self._window = self._read(place, size)
        return _event(self._window, at, clock)

    def bytes_at(self, place: int, size: int) -> bytes:
        """Return *size* bytes from *place* on."""
        if place >= self._in_file:
            return bytes(self._buffer[place - self._in_file : place - self._in_file + size])
        return self._read(place, size)

    def _indexed(self) -> _Index | ImageIndex:
        if self._index is None:
            if self._count < MANY:
                self._index = _Index(self, self._all_blocks())
            else:
                from etwdetect.offline.image_index import ImageIndex  # noqa: PLC0415 (lazy import: it loads numpy)

                self._index = ImageIndex(self, self._all_blocks(), MOST_PLACES, MOST_OF_ONE)
        return self._index

    def _all_blocks(self) -> Iterator[Block]:
        for (start, count, clock), size in zip(self._in_blocks, self._blocks, strict=True):
            data = self._read(start, size)
            end = size - (count * self._places.itemsize + 7 & -records.ALIGNMENT)
            places = array("I", data[end : end + count * self._places.itemsize])
            yield Block(start, data[:end], places, clock)
        yield Block(self._in_file, self._buffer, self._places, self._clock)

    def replace(self, start: int, data: bytes) -> None:
        """Write *data*, the events of the block from *start* on in another order, in place of it."""
        if start >= self._in_file:
            self._buffer = bytearray(data)
        else:
            assert self._file is not None
            self._file.seek(start)
            self._file.write(data)

    def start_of(self, block: Block, at: int) -> tuple[int, int]:
        """Return the FILETIME and the process id of the event at *at* in *block*, or 0 and NOBODY."""
        start = records.image_start(block.data, at) if block.data[at + 3] else None
        if start is not None and block.clock is not None:
            time, pid = block.clock.filetime(start[0]), start[1]
            if 0 <= time <= LAST_FILETIME:
                return time, pid
            self.damaged = True
            return 0, NOBODY
        try:
            event = _event(block.data, at, block.clock)
        except ValueError:
            self.damaged = True
            return 0, NOBODY
        found = image_pid(event)
        return (event.time, found) if found is not None else (0, NOBODY)


class _Index:
    """Where the events of each process are; an event too short to hold a process id has none."""

    def __init__(self, images: DeferredImages, blocks: Iterator[Block]) -> None:
        found: dict[int, tuple[array[int], array[int]]] = {}
        count = 0
        for block in blocks:
            for at in block.places:
                time, pid = images.start_of(block, at)
                if pid == NOBODY:
                    continue
                of_one = found.get(pid)
                if of_one is None:
                    of_one = found[pid] = array("q"), array("Q")
                if count < MOST_PLACES and len(of_one[0]) < MOST_OF_ONE:
                    of_one[0].append(time)
                    of_one[1].append(block.start + at)
                    count += 1
                else:
                    images.cut = True
        self._of = {pid: _in_order(*found.pop(pid)) for pid in tuple(found)}

    def processes(self) -> Collection[int]:
        return self._of.keys()

    def places(self, pid: int) -> Sequence[int]:
        return self._of[pid][1] if pid in self._of else ()

    def part(self, pid: int, first: int, most: int) -> Part:
        times, places = self._of.get(pid) or ((), ())
        return Part(first, times[first : first + most], places[first : first + most])


def _in_order(times: array[int], places: array[int]) -> tuple[array[int], array[int]]:
    order = sorted(range(len(times)), key=times.__getitem__)
    return array("q", (times[index] for index in order)), array("Q", (places[index] for index in order))


def size_of(data: bytes | bytearray, at: int) -> int:
    """Return the size in bytes of the event at *at*, without what pads it."""
    size, marker, size_if_hooked, _ = records.START.unpack_from(data, at)
    if not marker:
        return int.from_bytes(data[at + 4 : at + 8], "little")
    return int(size_if_hooked if records.KINDS[marker] == records.Kind.HOOKED else size)


def _event(data: bytes | bytearray, at: int, clock: ClockConversion | None) -> RawEvent:
    """Return the event at *at*. Raises ValueError where its time stamp is out of range."""
    if data[at + 3] and clock is not None:
        return records.read(data, at, clock, 0)
    size, event_id, version, opcode, pointer_size, time, pid, offset, provider = _HEAD.unpack_from(data, at)
    payload = bytes(data[at + _HEAD.size : at + size])
    return RawEvent(provider, event_id, version, opcode, time, pid, pid, pointer_size, payload, offset)
