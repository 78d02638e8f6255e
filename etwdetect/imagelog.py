"""Keeps image events aside, undecoded, until it is known of which processes they matter.

Images are many, and most of them are of processes that nobody makes a thread in. Which ones matter is known only
when all of a trace was read. So they are put away in as few steps as possible: in memory up to a limit, beyond it
in a temporary file that no one else can open.
"""

from __future__ import annotations

import tempfile
import weakref
from struct import Struct
from typing import TYPE_CHECKING, Final

from etwdetect.raw import KERNEL_PROCESS, RawEvent

if TYPE_CHECKING:
    from collections.abc import Container, Iterator
    from typing import IO

DEFAULT_LIMIT: Final = 8 << 20
"""How many bytes are held in memory."""

_HEAD: Final = Struct("<IHBBBqIQ16s")
_PID: Final = Struct("<I")
_PID_AT: Final = {4: 8, 8: 16}
"""By pointer size: where the process id stands in a payload, behind two pointers."""


class ImageLog:
    """Takes image events of one trace in any order, and gives those of some processes back in the same order."""

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        self._limit = limit
        self._held = bytearray()
        self._file: IO[bytes] | None = None
        self._blocks: list[int] = []
        """How many bytes each block in the file has."""

    def add(self, raw: RawEvent) -> None:
        """Take one event; OSError where the temporary file can't be written."""
        provider, event_id, version, opcode, time, pid, _, pointer_size, payload, offset = raw
        self._held += _HEAD.pack(
            len(payload), event_id, version, opcode, pointer_size, time, pid, offset, provider
        )
        self._held += payload
        if len(self._held) >= self._limit:
            self._spill()

    def of(self, pids: Container[int]) -> Iterator[RawEvent]:
        """Yield the events of the processes *pids*, and those that are too short to tell of which they are."""
        if self._file is not None:
            self._file.seek(0)
            for size in self._blocks:
                yield from _events(self._file.read(size), pids)
        yield from _events(self._held, pids)

    def _spill(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115
            weakref.finalize(self, self._file.close)  # the events may never be asked for
        self._file.seek(0, 2)
        self._file.write(self._held)
        self._blocks.append(len(self._held))
        self._held = bytearray()


def _events(block: bytes | bytearray, pids: Container[int]) -> Iterator[RawEvent]:
    at = 0
    while at < len(block):
        size, event_id, version, opcode, pointer_size, time, pid, offset, provider = _HEAD.unpack_from(block, at)
        at += _HEAD.size
        place = _PID_AT[pointer_size]
        told_in_payload = version > 0 or provider == KERNEL_PROCESS
        if told_in_payload and size >= place + _PID.size:
            (pid_of,) = _PID.unpack_from(block, at + place)
            wanted = pid_of in pids
        else:
            wanted = told_in_payload or pid in pids
        if wanted:
            payload = bytes(block[at : at + size])
            yield RawEvent(provider, event_id, version, opcode, time, pid, pid, pointer_size, payload, offset)
        at += size
