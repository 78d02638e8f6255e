"""Reorders late rows until they can be judged in order: the state of one bucket of hosts. It imports no Spark.

A stream delivers rows late and out of order. Each recording has its own clock, the newest time among its rows,
because clocks of different hosts differ. Its watermark is *lateness* behind that clock: rows before the watermark
are judged, and a row that comes after the watermark has passed it is a fault. A recording that was silent for
*lateness* of the engine's time is judged to its end.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from etwdetect.fleet.fault import Fault
from etwdetect.fleet.judge import CODES, FAULT, RecordingJudge, check_state

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Self

    from etwdetect.fleet.judge import Hit, Row

STATE_VERSION: Final = 2
"""The version of what `Bucket.to_json` writes; the rule's state in it has its own version."""

FORGET_AFTER: Final = 30 * 86_400_000
"""Thirty days, in milliseconds: a recording that was silent for so long has ended."""

_TICKS: Final = 10_000
"""FILETIME units of 100 ns in a millisecond."""

_KINDS: Final = {code: (kind, first, second) for kind, (code, first, second) in CODES.items()}
_in_order = itemgetter(0, 1, 2)


@dataclass
class ReorderBuffer:
    """One recording: its judge, the rows that wait to be judged in order, and its clock.

    *judge* is its `RecordingJudge.snapshot` until it has something to judge. Rows before *watermark* have been
    judged. *newest* is the time of the newest row; *arrived* is when the last row came, in milliseconds of the
    engine's clock.
    """

    host: str
    recording: str
    judge: RecordingJudge | list[Any] | None = None
    rows: list[Row] = field(default_factory=list)
    watermark: int | None = None
    newest: int | None = None
    arrived: int = 0

    def add(self, row: Row) -> Fault | None:
        """Take *row*; return the fault that it is where it comes after the watermark has passed it."""
        if self.watermark is not None and row[0] < self.watermark:
            return self._late(row, self.watermark)
        self.rows.append(row)
        if self.newest is None or row[0] > self.newest:
            self.newest = row[0]
        return None

    def release(self, watermark: int) -> Iterator[Hit | Fault]:
        """Judge the rows before *watermark*."""
        due = sorted((row for row in self.rows if row[0] < watermark), key=_in_order)
        if self.watermark is None or watermark > self.watermark:
            self.watermark = watermark
        if due:
            self.rows = [row for row in self.rows if row[0] >= watermark]
            if not isinstance(self.judge, RecordingJudge):
                self.judge = RecordingJudge(self.host, self.recording, self.judge)
            for row in due:
                found = self.judge.judge(row)
                if found is not None:
                    yield found

    def snapshot(self) -> list[Any]:
        """Return the state to continue from, in plain values: the arguments of this class."""
        judge = self.judge
        if judge is None:
            judge = RecordingJudge(self.host, self.recording)
        state = judge.snapshot() if isinstance(judge, RecordingJudge) else judge
        return [self.host, self.recording, state, self.watermark, self.newest, self.arrived, self.rows]

    @classmethod
    def restore(cls, state: list[Any]) -> Self:
        """Return a buffer that continues where `snapshot` was called; ValueError for a rule of another version."""
        host, recording, judge, watermark, newest, arrived, rows = state
        check_state(judge)
        return cls(host, recording, judge, rows, watermark, newest, arrived)

    def _late(self, row: Row, watermark: int) -> Fault:
        """Return the fault that *row* becomes, which came after later rows were judged."""
        time, code, seq, first, second, pid, tid, address = row
        kind, first_name, second_name = _KINDS[code]
        values = {"kind": kind, "time": time, first_name: first, second_name: second, "pid": pid, "tid": tid,
                  "start_address": address}  # fmt: skip
        seconds = (watermark - time) / (1000 * _TICKS)
        known = {name: value for name, value in values.items() if name and value is not None}
        fault = f"came {seconds:.3f} seconds later than rows of its recording may: {json.dumps(known)}"
        return Fault(fault, self.host, self.recording, seq)


class Bucket:
    """The recordings of some hosts; *lateness* and the engine's clock *now* are in milliseconds."""

    def __init__(self, lateness: int, state: str | None = None) -> None:
        """Begin with nothing, or continue from a `to_json`; ValueError where that is of another version."""
        self._lateness = lateness
        self._buffers: dict[tuple[str, str], ReorderBuffer] = {}
        if state is not None:
            self._restore(json.loads(state))

    def take(self, rows: Iterable[tuple[str, str, Row]], now: int) -> Iterator[Hit | Fault]:
        """Take the rows of one batch, in any order; yield what was found."""
        touched: dict[tuple[str, str], ReorderBuffer] = {}
        for host, recording, row in rows:
            if row[1] == FAULT:
                yield Fault.of_text(host, recording, row[2], row[7])
                continue
            key = host, recording
            buffer = touched.get(key)
            if buffer is None:
                buffer = self._buffers.get(key)
                if buffer is None:
                    buffer = self._buffers[key] = ReorderBuffer(host, recording)
                buffer.arrived = now
                touched[key] = buffer
            late = buffer.add(row)
            if late is not None:
                yield late
        for buffer in touched.values():
            if buffer.newest is not None:
                yield from buffer.release(buffer.newest - self._lateness * _TICKS)

    def flush(self, now: int) -> Iterator[Hit | Fault]:
        """Judge all rows of recordings that have been silent, and forget those that have ended."""
        for key, buffer in list(self._buffers.items()):
            silent = now - buffer.arrived
            if buffer.rows and buffer.newest is not None and silent >= self._lateness:
                yield from buffer.release(buffer.newest + 1)
            if silent > FORGET_AFTER:
                del self._buffers[key]

    def next_flush(self) -> int | None:
        """Return when `flush` must be called, in milliseconds; None where no row waits."""
        waiting = [buffer.arrived for buffer in self._buffers.values() if buffer.rows]
        return min(waiting) + self._lateness if waiting else None

    def to_json(self) -> str:
        """Return the state to continue from, as text."""
        buffers = [buffer.snapshot() for buffer in self._buffers.values()]
        return json.dumps([STATE_VERSION, buffers], separators=(",", ":"))

    def _restore(self, state: list[Any]) -> None:
        if state[0] != STATE_VERSION:
            raise ValueError(
                f"the checkpoint has state of version {state[0]!r}, and this etwdetect writes {STATE_VERSION}:"
                " continue with the etwdetect that wrote it, or begin a new checkpoint"
            )
        for each in state[1]:
            buffer = ReorderBuffer.restore(each)
            self._buffers[buffer.host, buffer.recording] = buffer
