"""Defers image events, undecoded, until a remote thread needs those of its processes.

There are many image events, and most belong to processes without a remote thread. Which ones are needed is known
only after the rule has seen all events in order. So they are stored in as few steps as possible: in memory up to
a limit, beyond it in an anonymous temporary file.
"""

from __future__ import annotations

import weakref
from array import array
from bisect import bisect_left
from collections import Counter
from itertools import takewhile
from struct import Struct
from typing import TYPE_CHECKING, Final

from etwdetect.core.raw import RawEvent
from etwdetect.sources.decode import image_pid
from etwdetect.sources.etl import records

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from typing import IO

    from etwdetect.sources.etl.clock import ClockConversion

DEFAULT_LIMIT: Final = 8 << 20
"""How many bytes are kept in memory."""

MOST_PLACES: Final = 1 << 21
"""How many events are indexed by process: 32 MiB."""

MOST_OF_ONE: Final = 1 << 18
"""How many events of one process id are indexed."""

_ENTRY: Final = Struct("<IH")
"""Before each event: its size in bytes, and the number of its clock or _READ."""
_USUAL: Final = 512
"""Few events are larger, in bytes."""
_READ: Final = 0xFFFF
"""In place of a clock's number: the entry is a parsed event, _HEAD and payload. Otherwise it is the record."""
_HEAD: Final = Struct("<HHBBqIQ16s")


class DeferredImages:
    """Takes the image events of traces in any order, and yields those of a process in time order.

    `cut` says that there were too many to index, `damaged` that some had no valid time stamp.
    """

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        self.cut = False
        self.damaged = False
        self.hooks: Counter[bytes] = Counter()
        """How many kernel records were added, by the two bytes of their hook id."""
        self._limit = limit
        self._count = 0
        self._buffer = bytearray()
        self._clocks: list[ClockConversion] = []
        self._file: IO[bytes] | None = None
        self._blocks: list[int] = []
        """The size of each block in the file, in bytes."""
        self._in_file = 0
        self._places: dict[int, array[int]] | None = None

    def add(self, raw: RawEvent) -> None:
        """Take one event; OSError where the temporary file can't be written."""
        provider, event_id, version, opcode, time, pid, _, pointer_size, payload, offset, *_ = raw
        self._count += 1
        self._buffer += _ENTRY.pack(_HEAD.size + len(payload), _READ)
        self._buffer += _HEAD.pack(event_id, version, opcode, pointer_size, time, pid, offset, provider)
        self._buffer += payload
        if len(self._buffer) >= self._limit:
            self._spill()

    def taker(self, clock: ClockConversion) -> Callable[[bytes], None]:
        """Return a function that takes the kernel's own records of a trace, whose time stamps *clock* converts.

        OSError where the temporary file can't be written.
        """
        keep = self.keeper(clock)

        def take(record: bytes) -> None:
            self.hooks[record[6:8]] += 1
            keep(record)

        return take

    def keeper(self, clock: ClockConversion) -> Callable[[bytes], None]:
        """Return a function that takes any records of a trace, and does not count them."""
        number = len(self._clocks)
        self._clocks.append(clock)

        def keep(record: bytes) -> None:
            self._count += 1
            self._buffer += _ENTRY.pack(len(record), number)
            self._buffer += record
            if len(self._buffer) >= self._limit:
                self._spill()

        return keep

    def __len__(self) -> int:
        """How many events were added."""
        return self._count

    def processes(self) -> Collection[int]:
        """Return the ids of the processes whose events `of` yields."""
        if self._places is None:
            self._places = self._index()
        return self._places.keys()

    def __iter__(self) -> Iterator[RawEvent]:
        """Yield all events in the order in which they were added."""
        for _, block in self._all_blocks():
            for _, event in self._events(block):
                yield event

    def of(self, pid: int, first: int = 0) -> Iterator[RawEvent]:
        """Yield the events of process *pid* in time order, without the ones before number *first*.

        Events of equal times keep the order in which they were added. No event may be added afterwards.
        """
        if self._places is None:
            self._places = self._index()
        for index in range(first, len(self._places.get(pid, ()))):
            yield self._at(self._places[pid][index])

    def between(self, pid: int, since: int, until: int) -> Iterator[RawEvent]:
        """Yield the events of process *pid* from the FILETIME *since* to *until*, as `of` does."""
        if self._places is None:
            self._places = self._index()
        places = self._places.get(pid, array("Q"))
        first = bisect_left(places, since, key=lambda place: self._at(place).time)
        return takewhile(lambda raw: raw.time <= until, self.of(pid, first))

    def _index(self) -> dict[int, array[int]]:
        """Return the places of each process's events; an event too short to hold a process id has none."""
        found: dict[int, tuple[array[int], array[int]]] = {}
        count = 0
        for start, block in self._all_blocks():
            for at, event in self._events(block):
                pid = image_pid(event)
                if pid is None:
                    continue
                times, places = found.setdefault(pid, (array("q"), array("Q")))
                if count < MOST_PLACES and len(times) < MOST_OF_ONE:
                    times.append(event.time)
                    places.append(start + at)
                    count += 1
                else:
                    self.cut = True
        return {pid: _in_order(*found.pop(pid)) for pid in tuple(found)}

    def _events(self, block: bytes | bytearray) -> Iterator[tuple[int, RawEvent]]:
        """Yield each event of *block* and its place there; events without a valid time stamp are left out."""
        at = 0
        while at < len(block):
            try:
                yield at, self._event(block, at)
            except ValueError:
                self.damaged = True
            at += _ENTRY.size + _ENTRY.unpack_from(block, at)[0]

    def _event(self, block: bytes | bytearray, at: int) -> RawEvent:
        size, clock = _ENTRY.unpack_from(block, at)
        at += _ENTRY.size
        if clock != _READ:
            return records.read(block, at, self._clocks[clock], 0)
        event_id, version, opcode, pointer_size, time, pid, offset, provider = _HEAD.unpack_from(block, at)
        payload = bytes(block[at + _HEAD.size : at + size])
        return RawEvent(provider, event_id, version, opcode, time, pid, pid, pointer_size, payload, offset)

    def _all_blocks(self) -> Iterator[tuple[int, bytes | bytearray]]:
        """Yield the place of each block and its bytes."""
        start = 0
        for size in self._blocks:
            yield start, self._read(start, size)
            start += size
        yield start, self._buffer

    def _at(self, place: int) -> RawEvent:
        if place >= self._in_file:
            return self._event(self._buffer, place - self._in_file)
        data = self._read(place, _USUAL)
        size = _ENTRY.size + int.from_bytes(data[:4], "little")
        return self._event(data if size <= len(data) else self._read(place, size), 0)

    def _read(self, place: int, size: int) -> bytes:
        assert self._file is not None
        self._file.seek(place)
        return self._file.read(size)

    def _spill(self) -> None:
        if self._file is None:
            import tempfile  # noqa: PLC0415 (lazy import: fast start-up)

            self._file = tempfile.TemporaryFile()  # noqa: SIM115
            weakref.finalize(self, self._file.close)  # the events may never be read
        self._file.seek(0, 2)
        self._file.write(self._buffer)
        self._blocks.append(len(self._buffer))
        self._in_file += len(self._buffer)
        self._buffer = bytearray()


def _in_order(times: array[int], places: array[int]) -> array[int]:
    return array("Q", (places[index] for index in sorted(range(len(times)), key=times.__getitem__)))
