"""Keeps image events aside, undecoded, until it is known of which processes they matter.

Images are many, and most of them are of processes that nobody makes a thread in. Which ones matter is known only
when the rule has seen all events in order. So they are put away in as few steps as possible: in memory up to a
limit, beyond it in a temporary file that no one else can open.
"""

from __future__ import annotations

import tempfile
import weakref
from array import array
from struct import Struct
from typing import TYPE_CHECKING, Final

from etwdetect.raw import KERNEL_PROCESS, RawEvent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

DEFAULT_LIMIT: Final = 8 << 20
"""How many bytes are held in memory."""

MOST_PLACES: Final = 1 << 21
"""How many of them can be found by their processes: 32 MiB."""

MOST_OF_ONE: Final = 1 << 18
"""How many of those may be of one process id."""

_HEAD: Final = Struct("<IHBBBqIQ16s")
_PID: Final = Struct("<I")
_PID_AT: Final = {4: 8, 8: 16}
"""By pointer size: where the process id stands in a payload, behind two pointers."""


class ImageLog:
    """Takes the image events of traces in any order, and gives those of a process back in order of time.

    *complete* is False once there were too many to find them all again.
    """

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        self.complete = True
        self._limit = limit
        self._held = bytearray()
        self._file: IO[bytes] | None = None
        self._blocks: list[int] = []
        """How many bytes each block in the file has."""
        self._in_file = 0
        self._places: dict[int, array[int]] | None = None

    def add(self, raw: RawEvent) -> None:
        """Take one event; OSError where the temporary file can't be written."""
        provider, event_id, version, opcode, time, pid, _, pointer_size, payload, offset = raw
        self._held += _HEAD.pack(
            len(payload), event_id, version, opcode, pointer_size, time, pid, offset, provider
        )
        self._held += payload
        if len(self._held) >= self._limit:
            self._spill()

    def __iter__(self) -> Iterator[RawEvent]:
        """Yield all events in the order in which they came."""
        for _, block in self._all_blocks():
            at = 0
            while at < len(block):
                event = _event(block, at)
                yield event
                at += _HEAD.size + len(event.payload)

    def of(self, pid: int, first: int = 0) -> Iterator[RawEvent]:
        """Yield the events of process *pid* from the *first* on, in order of time.

        Those of one time are in the order in which they came. No event may be added any more.
        """
        if self._places is None:
            self._places = self._index()
        for index in range(first, len(self._places.get(pid, ()))):
            yield self._at(self._places[pid][index])

    def _index(self) -> dict[int, array[int]]:
        """Return where the events of each process are; one too short to tell its process is of none."""
        found: dict[int, tuple[array[int], array[int]]] = {}
        count = 0
        for start, block in self._all_blocks():
            at = 0
            while at < len(block):
                size, _, version, _, pointer_size, time, pid, _, provider = _HEAD.unpack_from(block, at)
                if version > 0 or provider == KERNEL_PROCESS:
                    told = size >= _PID_AT[pointer_size] + _PID.size
                    (pid,) = _PID.unpack_from(block, at + _HEAD.size + _PID_AT[pointer_size]) if told else (None,)
                if pid is not None:
                    times, places = found.setdefault(pid, (array("q"), array("Q")))
                    if count < MOST_PLACES and len(times) < MOST_OF_ONE:
                        times.append(time)
                        places.append(start + at)
                        count += 1
                    else:
                        self.complete = False
                at += _HEAD.size + size
        return {pid: _in_order(*found.pop(pid)) for pid in tuple(found)}

    def _all_blocks(self) -> Iterator[tuple[int, bytes | bytearray]]:
        """Yield the place of each block, and its bytes."""
        start = 0
        for size in self._blocks:
            yield start, self._read(start, size)
            start += size
        yield start, self._held

    def _at(self, place: int) -> RawEvent:
        if place >= self._in_file:
            return _event(self._held, place - self._in_file)
        size = _HEAD.size + int.from_bytes(self._read(place, 4), "little")
        return _event(self._read(place, size), 0)

    def _read(self, place: int, size: int) -> bytes:
        assert self._file is not None
        self._file.seek(place)
        return self._file.read(size)

    def _spill(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115
            weakref.finalize(self, self._file.close)  # the events may never be asked for
        self._file.seek(0, 2)
        self._file.write(self._held)
        self._blocks.append(len(self._held))
        self._in_file += len(self._held)
        self._held = bytearray()


def _in_order(times: array[int], places: array[int]) -> array[int]:
    return array("Q", (places[index] for index in sorted(range(len(times)), key=times.__getitem__)))


def _event(block: bytes | bytearray, at: int) -> RawEvent:
    size, event_id, version, opcode, pointer_size, time, pid, offset, provider = _HEAD.unpack_from(block, at)
    at += _HEAD.size
    payload = bytes(block[at : at + size])
    return RawEvent(provider, event_id, version, opcode, time, pid, pid, pointer_size, payload, offset)
