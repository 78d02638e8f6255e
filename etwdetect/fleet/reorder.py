"""Rows that are held back until they can be judged in order: the state of one bucket of hosts. It knows no Spark.

A stream gives rows late and out of order. Each recording has its own clock, the newest time among its rows,
because clocks of different hosts differ: a row is judged when that clock is *lateness* past it. One that comes
later still is put aside as a fault. A recording that was silent for *lateness* of the engine's time is judged to
its end.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from etwdetect.fleet.judge import CODES, FAULT, Fault, RecordingJudge, check_state

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from etwdetect.fleet.judge import Hit, Row

STATE_VERSION: Final = 1
"""Of what `Bucket.to_json` writes, beside the rule's own version in it."""

FORGET_AFTER: Final = 30 * 86_400_000
"""Thirty days, in milliseconds: a recording that was silent for so long has ended."""

_TICKS: Final = 10_000
"""FILETIME units of 100 ns in a millisecond."""

_KINDS: Final = {code: (kind, first, second) for kind, (code, first, second) in CODES.items()}
_in_order = itemgetter(0, 1, 2)


@dataclass
class _Held:
    """One recording: its judge, the rows held back, and its clock.

    *judge* is its `RecordingJudge.state` until it has something to judge. Rows before *floor* have been judged.
    *newest* is the time of the newest row; *arrived* is when the last one came, in milliseconds of the engine's
    clock.
    """

    judge: RecordingJudge | list[Any] = field(default_factory=RecordingJudge)
    rows: list[Row] = field(default_factory=list)
    floor: int | None = None
    newest: int | None = None
    arrived: int = 0

    def release(self, floor: int) -> Iterator[Hit | Fault]:
        """Judge the rows before *floor*."""
        due = sorted((row for row in self.rows if row[0] < floor), key=_in_order)
        if self.floor is None or floor > self.floor:
            self.floor = floor
        if due:
            self.rows = [row for row in self.rows if row[0] >= floor]
            if not isinstance(self.judge, RecordingJudge):
                self.judge = RecordingJudge(self.judge)
            for row in due:
                hit = self.judge.judge(row)
                if hit is not None:
                    yield hit

    def judge_state(self) -> list[Any]:
        return self.judge.state() if isinstance(self.judge, RecordingJudge) else self.judge


class Bucket:
    """The recordings of some hosts; *lateness* and the engine's clock *now* are in milliseconds."""

    def __init__(self, lateness: int, state: str | None = None) -> None:
        """Begin with nothing, or go on from a `to_json`; ValueError where that is of another version."""
        self._lateness = lateness
        self._recordings: dict[tuple[str, str], _Held] = {}
        if state is not None:
            self._restore(json.loads(state))

    def take(self, rows: Iterable[tuple[str, str, Row]], now: int) -> Iterator[tuple[str, str, Hit | Fault]]:
        """Take the rows of one batch, in any order; yield what can be told."""
        touched: dict[tuple[str, str], _Held] = {}
        for host, recording, row in rows:
            if row[1] == FAULT:
                yield host, recording, Fault(row[2], row[7] or "")
                continue
            key = host, recording
            held = touched.get(key)
            if held is None:
                held = touched[key] = self._recordings.setdefault(key, _Held())
                held.arrived = now
            if held.floor is not None and row[0] < held.floor:
                yield host, recording, self._late(row, held)
                continue
            held.rows.append(row)
            if held.newest is None or row[0] > held.newest:
                held.newest = row[0]
        for (host, recording), held in touched.items():
            if held.newest is not None:
                for hit in held.release(held.newest - self._lateness * _TICKS):
                    yield host, recording, hit

    def flush(self, now: int) -> Iterator[tuple[str, str, Hit | Fault]]:
        """Judge to their end the recordings that have been silent, and forget those that have ended."""
        for (host, recording), held in list(self._recordings.items()):
            silent = now - held.arrived
            if held.rows and held.newest is not None and silent >= self._lateness:
                for hit in held.release(held.newest + 1):
                    yield host, recording, hit
            if silent > FORGET_AFTER:
                del self._recordings[host, recording]

    def next_flush(self) -> int | None:
        """Return when `flush` is to be called, in milliseconds; None where nothing is held."""
        waiting = [held.arrived for held in self._recordings.values() if held.rows]
        return min(waiting) + self._lateness if waiting else None

    def to_json(self) -> str:
        """Return all of it as text."""
        recordings = [
            [*key, held.judge_state(), held.floor, held.newest, held.arrived, held.rows]
            for key, held in self._recordings.items()
        ]
        return json.dumps([STATE_VERSION, recordings], separators=(",", ":"))

    def _restore(self, state: list[Any]) -> None:
        if state[0] != STATE_VERSION:
            raise ValueError(
                f"the checkpoint has state of version {state[0]!r}, and this etwdetect writes {STATE_VERSION}:"
                " go on with the etwdetect that wrote it, or begin a new checkpoint"
            )
        for host, recording, judge, floor, newest, arrived, rows in state[1]:
            check_state(judge)
            self._recordings[host, recording] = _Held(judge, rows, floor, newest, arrived)

    def _late(self, row: Row, held: _Held) -> Fault:
        """Return what is put aside instead of *row*, which the judge has already gone past."""
        time, code, seq, first, second, pid, tid, address = row
        kind, first_name, second_name = _KINDS[code]
        values = {"kind": kind, "time": time, first_name: first, second_name: second, "pid": pid, "tid": tid,
                  "start_address": address}  # fmt: skip
        seconds = ((held.floor or 0) - time) / (1000 * _TICKS)
        known = {name: value for name, value in values.items() if name and value is not None}
        fault = f"came {seconds:.3f} seconds later than rows of its recording may: {json.dumps(known)}"
        return Fault(seq, json.dumps({"fault": fault}))
