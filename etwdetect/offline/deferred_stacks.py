"""Puts the records of call stacks aside, and finds the stack of a thread start among them.

Most stacks are of other events, and a thread's user part can come long behind it, so nothing is decoded before a
stack is asked for: then the records are gone through once for the pieces that name one of the thread starts, and
once more for the frames behind the keys in these.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import defaultdict
from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple

from etwdetect.core.events import MOST_FRAMES, CallStack
from etwdetect.core.filetime import TICKS_PER_MILLISECOND
from etwdetect.core.raw import EVENT_TRACING, KERNEL_PROCESS, STACK_WALK
from etwdetect.enrich.fields import END_OF_PROGRAMS
from etwdetect.offline.spilled import SpilledBytes
from etwdetect.sources.decode import stack_walk
from etwdetect.sources.decode.stack_walk import EITHER_BY_KEY, KERNEL_BY_KEY, USER_BY_KEY, USER_BY_MATCH
from etwdetect.sources.etl.clock import SYSTEM_TIME
from etwdetect.sources.etl.records import HEADERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etwdetect.core.events import ThreadStart
    from etwdetect.core.raw import RawEvent
    from etwdetect.core.rule import RemoteThread
    from etwdetect.sources.decode.stack_walk import Piece
    from etwdetect.sources.etl.reader import Trace

DEFAULT_LIMIT: Final = 8 << 20
"""How many bytes are kept in memory; beyond it, all go to a temporary file."""

MOST_STARTS: Final = 1 << 16
"""For how many thread starts in other processes, and for how many in the creator's own, a stack is looked for."""

MOST_PIECES: Final = 8
"""Of how many pieces the stack of one thread start is put together. Windows records two."""

MOST_DEFINITIONS: Final = 1 << 20
"""How many definitions of the keys that are looked for are kept: 16 MiB."""

APART: Final = TICKS_PER_MILLISECOND
"""How far apart two providers tell one thread start at the most, in 100 ns units."""

_START_EVENT: Final = 3
_USER_PART_EVENT: Final = 18
_LARGEST_RECORD: Final = 1 << 16
_OF_KEY: Final = 1
_OF_MATCH: Final = 2

# By the byte that is looked up, because each record passes here.
_IS_OF_AN_EVENT: Final = bytes(code in stack_walk.OF_AN_EVENT for code in range(256))
_DEFINES: Final = bytes(
    _OF_MATCH if code in stack_walk.MATCHES else _OF_KEY * (code in stack_walk.DEFINITIONS) for code in range(256)
)
_WIDTH: Final = bytes(4 if code in stack_walk.POINTERS_32 else 8 for code in range(256))
_HEADER: Final = bytes(HEADERS[code][1] if code in HEADERS else 0 for code in range(256))

NO_STACK: Final = "the trace has stacks, but none of this thread start"
NO_PART: Final = "the trace does not have this part of the stack"
NO_USER_PART: Final = (
    "the trace does not have this part of the stack: Windows records it when the thread returns to its program"
)
UNDEFINED: Final = "the trace does not have the frames of this part: nothing behind it defines its key"
SEVERAL: Final = "several stacks in the trace fit this thread start"
TOO_MANY: Final = "there are more thread starts or stacks than are remembered"
COARSE_CLOCK: Final = "the trace's clock is too coarse to tell which event a stack is of"

_Of = tuple[int, int, int]
"""A moment, as a FILETIME, and the process and thread that something was done by then."""
_Key = tuple[int, bool, int]
"""A key of a trace: the trace's number, whether it is a MatchId, and the key."""


class _Found(NamedTuple):
    """The number of the trace that a piece of a stack is in, and its place in what was put aside."""

    trace: int
    place: int


class DeferredStacks(SpilledBytes):
    """Takes the records of call stacks of traces in any order, and returns those of thread starts.

    `damaged` counts the records that were too short, of those that were looked into.
    """

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        super().__init__(limit)
        self.damaged = 0
        self._traces: list[Trace] = []
        self._begins: list[int] = []
        """Of each trace: how many bytes were put aside before it."""
        self._tellings: dict[tuple[int, int, int, int], array[int]] = {}
        """Of each thread start in another process, by both ends: the FILETIMEs at which it is told."""
        self._own: set[_Of] = set()
        """The other thread starts."""
        self._told = 0
        self._too_many = False
        self._pieces: dict[_Of, list[_Found]] | None = None
        self._definitions: dict[_Key, _Definitions] = {}

    # -- filling it

    def begin(self, trace: Trace) -> None:
        """Let what is put aside from here on be of *trace*."""
        self._traces.append(trace)
        self._begins.append(self._in_file + len(self._buffer))

    def take(self, records: bytes) -> None:
        """Take records of StackWalk without a full header, each padded to 8 bytes.

        OSError where the temporary file can't be written.
        """
        self._buffer += records
        if len(self._buffer) >= self._limit:
            self._spill()

    def add(self, raw: RawEvent) -> None:
        """Take an event with a full header, if it has a stack or is one; OSError as from `take`."""
        time = self._traces[-1].clock.raw(raw.time)
        if raw.provider == STACK_WALK and raw.opcode in stack_walk.OPCODES:
            self.take(stack_walk.from_event(raw, time))
        elif raw.provider == KERNEL_PROCESS and raw.id == _START_EVENT:
            self.take(b"".join(stack_walk.from_items(raw, time, is_user_part=False)))
        elif raw.provider == EVENT_TRACING and raw.id == _USER_PART_EVENT:
            self.take(b"".join(stack_walk.from_items(raw, time, is_user_part=True)))

    def expect(self, start: ThreadStart | RemoteThread) -> None:
        """Take that the stack of *start* may be asked for."""
        of_others = start.creator_pid != start.pid
        if (self._told if of_others else len(self._own)) >= MOST_STARTS:
            self._too_many = True
            return
        if not of_others:
            self._own.add((start.time, start.creator_pid, start.creator_tid or 0))
            return
        self._told += 1
        ends = start.creator_pid, start.creator_tid or 0, start.pid, start.tid
        self._tellings.setdefault(ends, array("q")).append(start.time)

    # -- asking it

    def __bool__(self) -> bool:
        """Whether anything was taken."""
        return bool(self._in_file or self._buffer)

    def of(self, start: ThreadStart | RemoteThread) -> CallStack | None:
        """Return the stack of *start*, with the reason for each missing part; None where there are no stacks.

        Nothing may be added afterwards.
        """
        if not self or start.creator_tid is None:
            return None
        if self._pieces is None:
            self._find()
        assert self._pieces is not None
        for time in self._times(start):
            pieces = self._pieces.get((time, start.creator_pid, start.creator_tid))
            if pieces:
                return self._joined(CallStack(start.time, start.creator_pid, start.creator_tid), pieces)
        missing = TOO_MANY if self._too_many else NO_STACK
        if all(trace.header.clock == SYSTEM_TIME for trace in self._traces):
            missing = COARSE_CLOCK
        return CallStack(start.time, start.creator_pid, start.creator_tid, no_kernel=missing, no_user=missing)

    def _times(self, start: ThreadStart | RemoteThread) -> Iterator[int]:
        """Yield when *start* is told: by itself, and by another provider."""
        yield start.time
        ends = start.creator_pid, start.creator_tid or 0, start.pid, start.tid
        for time in self._tellings.get(ends, ()):
            if time != start.time and abs(time - start.time) <= APART:
                yield time

    def _joined(self, stack: CallStack, pieces: list[_Found]) -> CallStack:
        """Return *stack* with the parts that *pieces* are of."""
        read = [(trace, piece) for trace, place in pieces if (piece := self._at(place)) is not None]
        moments = {(trace, piece.time) for trace, piece in read}
        if len(pieces) > MOST_PIECES or len(moments) > len({trace for trace, _ in read}):
            return stack._replace(no_kernel=SEVERAL, no_user=SEVERAL)
        end = END_OF_PROGRAMS[self._traces[pieces[0].trace].header.pointer_size]
        kernel: set[tuple[int, ...]] = set()
        user: set[tuple[int, ...]] = set()
        no_kernel, no_user, undefined = NO_PART, NO_USER_PART, TOO_MANY if self._too_many else UNDEFINED
        for trace, piece in read:
            frames = self._frames(trace, piece)
            opcode = piece.opcode
            if frames is None:
                no_kernel = undefined if opcode in {KERNEL_BY_KEY, EITHER_BY_KEY} else no_kernel
                no_user = no_user if opcode == KERNEL_BY_KEY else undefined
                continue
            split = next((at for at, frame in enumerate(frames) if frame < end), len(frames))
            if opcode == KERNEL_BY_KEY and split < len(frames):
                no_kernel = UNDEFINED
            elif opcode in {USER_BY_KEY, USER_BY_MATCH} and split:
                no_user = UNDEFINED
            else:
                kernel |= {frames[:split]} - {()}
                user |= {frames[split:]} - {()}
        if len(kernel) > 1 or len(user) > 1:
            return stack._replace(no_kernel=SEVERAL, no_user=SEVERAL)
        of_kernel, of_user = _kept(kernel, no_kernel), _kept(user, no_user)
        return CallStack(*stack[:3], of_kernel[0], of_user[0], of_kernel[1], of_user[1])

    def _frames(self, trace: int, piece: Piece) -> tuple[int, ...] | None:
        """Return the frames of a piece, or those that its key means; None where nothing defines it."""
        if piece.key is None:
            return piece.frames
        definition = self._defined((trace, piece.opcode == USER_BY_MATCH, piece.key), piece.recorded)
        if definition is not None and definition.further is not None:
            definition = self._defined((trace, False, definition.further), definition.recorded)
        return None if definition is None else definition.frames

    def _defined(self, key: _Key, recorded: int) -> Piece | None:
        """Return the first definition of *key* that was recorded at the raw time *recorded* or later."""
        definitions = self._definitions.get(key)
        place = definitions.first(recorded) if definitions else None
        return None if place is None else self._at(place)

    # -- going through what was put aside

    def _find(self) -> None:
        """Find the pieces of all thread starts that are expected, and the definitions of the keys in them."""
        self._pieces = self._find_pieces()
        keys: set[_Key] = set()
        for trace, place in chain.from_iterable(self._pieces.values()):
            piece = self._at(place)
            if piece is not None and piece.key is not None:
                keys.add((trace, piece.opcode == USER_BY_MATCH, piece.key))
        while keys:
            further = self._find_definitions(keys)
            keys = further - self._definitions.keys()

    def _find_pieces(self) -> dict[_Of, list[_Found]]:
        expected = set(self._own)
        for (creator_pid, creator_tid, _, _), tellings in self._tellings.items():
            expected.update((time, creator_pid, creator_tid) for time in tellings)
        times = {time for time, _, _ in expected}
        pieces: dict[_Of, list[_Found]] = defaultdict(list)
        filetimes = [trace.clock.filetime for trace in self._traces]
        coarse = {number for number, trace in enumerate(self._traces) if trace.header.clock == SYSTEM_TIME}
        for trace, data, at, start, place in self._records(_IS_OF_AN_EVENT):
            time = filetimes[trace](int.from_bytes(data[start : start + 8], "little", signed=True))
            if time in times and trace not in coarse:
                piece = self._piece(data, at)
                if piece is not None and (time, piece.pid, piece.tid) in expected:
                    of_one = pieces[time, piece.pid, piece.tid]
                    if len(of_one) <= MOST_PIECES:
                        of_one.append(_Found(trace, place))
        return pieces

    def _find_definitions(self, keys: set[_Key]) -> set[_Key]:
        """Find the definitions of *keys*; return the keys that these refer to in turn."""
        found: dict[_Key, _Definitions] = defaultdict(_Definitions)
        further: set[_Key] = set()
        count = 0
        for trace, data, at, start, place in self._records(_DEFINES):
            is_match = _DEFINES[data[at + 6]] == _OF_MATCH
            size = 8 if is_match else _WIDTH[data[at + 2]]
            key = trace, is_match, int.from_bytes(data[start : start + size], "little")
            piece = self._piece(data, at) if key in keys else None
            if piece is None:
                continue
            if count == MOST_DEFINITIONS:
                self._too_many = True
                break
            found[key].add(piece.recorded, place)
            count += 1
            if piece.further is not None:
                further.add((trace, False, piece.further))
        self._definitions |= found
        return further

    def _piece(self, data: bytes | bytearray, at: int) -> Piece | None:
        found = stack_walk.piece(data, at)
        self.damaged += found is None
        return found

    def _records(self, wanted: bytes) -> Iterator[tuple[int, bytes | bytearray, int, int, int]]:
        """Yield the records whose opcodes *wanted* marks, in the order in which they were taken.

        Of each: the number of its trace, bytes, where it begins in these, where its payload does, and its place.
        """
        ends = [*self._begins[1:], self._in_file + len(self._buffer)]
        first = 0
        for size in (*self._blocks, len(self._buffer)):
            data = self._buffer if first == self._in_file else self._read(first, size)
            for trace, (begin, end) in enumerate(zip(self._begins, ends, strict=True)):
                at, end_here = max(begin - first, 0), min(end - first, size)
                while at < end_here:
                    if wanted[data[at + 6]]:
                        yield trace, data, at, at + _HEADER[data[at + 2]], first + at
                    at += (data[at + 4] | data[at + 5] << 8) + 7 & -8
            first += size

    def _at(self, place: int) -> Piece | None:
        if place >= self._in_file:
            return stack_walk.piece(self._buffer, place - self._in_file)
        return stack_walk.piece(self._read(place, _LARGEST_RECORD), 0)


def _kept(parts: set[tuple[int, ...]], missing: str) -> tuple[tuple[int, ...] | None, str | None]:
    """Return the frames of the one part in *parts* that are kept, and why it or some of them are not."""
    if not parts:
        return None, missing
    (frames,) = parts
    if len(frames) <= MOST_FRAMES:
        return frames, None
    return frames[:MOST_FRAMES], f"only the innermost {MOST_FRAMES} of its {len(frames):,} frames are kept"


class _Definitions:
    """Where the definitions of one key are, by the raw times at which they were recorded."""

    __slots__ = ("_in_order", "_places", "_times")

    def __init__(self) -> None:
        self._times = array("q")
        self._places = array("Q")
        self._in_order = True

    def add(self, recorded: int, place: int) -> None:
        self._in_order = self._in_order and (not self._times or recorded >= self._times[-1])
        self._times.append(recorded)
        self._places.append(place)

    def first(self, recorded: int) -> int | None:
        """Return the place of the first one recorded at the raw time *recorded* or later."""
        if not self._in_order:
            order = sorted(range(len(self._times)), key=self._times.__getitem__)
            self._times = array("q", (self._times[at] for at in order))
            self._places = array("Q", (self._places[at] for at in order))
            self._in_order = True
        at = bisect_left(self._times, recorded)
        return self._places[at] if at < len(self._places) else None
