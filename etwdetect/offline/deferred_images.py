"""Defers image events, undecoded, until a remote thread needs those of its processes.

There are many image events, and most belong to processes without a remote thread. Which ones are needed is known
only after the rule has seen all events in order. So they are stored in as few steps as possible: in memory up to
a limit, beyond it in an anonymous temporary file.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from itertools import takewhile
from struct import Struct
from typing import TYPE_CHECKING, Final

from etwdetect.core.filetime import LAST_FILETIME
from etwdetect.core.raw import RawEvent
from etwdetect.offline.spilled import SpilledBytes
from etwdetect.sources.decode import image_pid
from etwdetect.sources.etl import records

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from etwdetect.sources.etl.clock import ClockConversion

DEFAULT_LIMIT: Final = 8 << 20
"""How many bytes are kept in memory."""

MOST_PLACES: Final = 1 << 21
"""How many events are indexed by process: 32 MiB."""

MOST_OF_ONE: Final = 1 << 18
"""How many events of one process id are indexed."""

_ENTRY: Final = Struct("<IH")
"""Before each event: its size in bytes, and the number of its clock or _READ."""
_READ_AHEAD: Final = 8 << 10
"""How many bytes of the file are read at once: the events of a process lie together in each block."""
_NOBODY: Final = -1
"""In place of the process id of an event that has none, or no valid time stamp."""
_READ: Final = 0xFFFF
"""In place of a clock's number: the entry is a parsed event, _HEAD and payload. Otherwise it is the record."""
_HEAD: Final = Struct("<HHBBqIQ16s")


class DeferredImages(SpilledBytes):
    """Takes the image events of traces in any order, and yields those of a process in time order.

    `cut` says that there were too many to index, `damaged` that some had no valid time stamp.
    """

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        super().__init__(limit)
        self.cut = False
        self.damaged = False
        self.hooks: Counter[bytes] = Counter()
        """How many kernel records were added, by the two bytes of their hook id."""
        self._count = 0
        self._clocks: list[ClockConversion] = []
        self._places: dict[int, array[int]] | None = None
        self._window = b""
        """The bytes of the file that were read last, and where they begin."""
        self._window_start = 0

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
        """Yield all events in the order in which they were added; call it before `of`."""
        for _, block in self._all_blocks():
            yield from self._events(block)

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
        """Return the places of each process's events; an event too short to hold a process id has none.

        On the way, each block in the file is put in order of the processes, so that few reads find those of one.
        """
        found: dict[int, tuple[array[int], array[int]]] = {}
        count = 0
        for start, block in self._all_blocks():
            pids, times, places = self._look_through(block)
            if start < self._in_file:
                places = self._group(start, block, places, pids)
            for pid, time, at in zip(pids, times, places, strict=True):
                if pid == _NOBODY:
                    continue
                of_one = found.get(pid)
                if of_one is None:
                    of_one = found[pid] = array("q"), array("Q")
                if count < MOST_PLACES and len(of_one[0]) < MOST_OF_ONE:
                    of_one[0].append(time)
                    of_one[1].append(start + at)
                    count += 1
                else:
                    self.cut = True
        return {pid: _in_order(*found.pop(pid)) for pid in tuple(found)}

    def _look_through(self, block: bytes | bytearray) -> tuple[array[int], array[int], array[int]]:
        """Return the process id of each event in *block*, or _NOBODY, its FILETIME, and its place there."""
        pids, times, places = array("q"), array("q"), array("I")
        at, end = 0, len(block)
        while at < end:
            size, clock = _ENTRY.unpack_from(block, at)
            start = None if clock == _READ else records.image_start(block, at + _ENTRY.size)
            if start is not None:
                time, pid = self._clocks[clock].filetime(start[0]), start[1]
                if not 0 <= time <= LAST_FILETIME:
                    self.damaged, pid = True, _NOBODY
            else:
                time, pid = self._read_start(block, at)
            pids.append(pid)
            times.append(time if pid != _NOBODY else 0)
            places.append(at)
            at += _ENTRY.size + size
        return pids, times, places

    def _read_start(self, block: bytes | bytearray, at: int) -> tuple[int, int]:
        try:
            event = self._event(block, at)
        except ValueError:
            self.damaged = True
            return 0, _NOBODY
        pid = image_pid(event)
        return event.time, _NOBODY if pid is None else pid

    def _events(self, block: bytes | bytearray) -> Iterator[RawEvent]:
        """Yield each event of *block*; events without a valid time stamp are left out."""
        at = 0
        while at < len(block):
            try:
                yield self._event(block, at)
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
        at = place - self._window_start
        entry = self._window[at : at + _ENTRY.size] if at >= 0 else b""
        end = at + _ENTRY.size + int.from_bytes(entry[:4], "little")
        if len(entry) < _ENTRY.size or end > len(self._window):
            self._window, self._window_start, at = self._read(place, _READ_AHEAD), place, 0
            size = _ENTRY.size + int.from_bytes(self._window[:4], "little")
            if size > len(self._window):
                self._window = self._read(place, size)
        return self._event(self._window, at)

    def _group(self, start: int, block: bytes | bytearray, places: array[int], pids: array[int]) -> array[int]:
        """Write the entries of *block*, which are at *places*, in order of their *pids*; return where each is."""
        assert self._file is not None
        order = sorted(range(len(pids)), key=pids.__getitem__)
        ends = places[1:]
        ends.append(len(block))
        moved = array("I", bytes(places.itemsize * len(places)))
        at = 0
        for number in order:
            moved[number] = at
            at += ends[number] - places[number]
        self._file.seek(start)
        view = memoryview(block)
        self._file.writelines(view[places[number] : ends[number]] for number in order)
        return moved


def _in_order(times: array[int], places: array[int]) -> array[int]:
    return array("Q", (places[index] for index in sorted(range(len(times)), key=times.__getitem__)))
