"""The rule over the rows of many recordings: the part of the fleet engine that does not import Spark.

A row here is a tuple: time, code (the kind of event, in the order of the rule), seq, and five values whose meaning
depends on the code (`CODES`). Rows of one recording are judged in the order of their first three values.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from etwdetect.core.events import (
    Contradiction,
    Loss,
    ProcessRundown,
    ProcessStart,
    ProcessStop,
    SourceStart,
    ThreadRundown,
    ThreadStart,
)
from etwdetect.core.prefilter import PROCESS_RUNDOWN, PROCESS_START, PROCESS_STOP, THREAD_RUNDOWN, THREAD_START
from etwdetect.core.rule import RemoteThreadRule
from etwdetect.core.rule_state import RuleState, check_version
from etwdetect.fleet.fault import Fault
from etwdetect.results.contradictions import possible_miss

if TYPE_CHECKING:
    from collections.abc import Callable

    from etwdetect.core.events import Event
    from etwdetect.core.rule import RemoteThread

_ADDRESS: Final = re.compile("0x[0-9a-fA-F]{1,16}")

Row = tuple[int, int, int, int | None, int | None, int | None, int | None, str | None]
"""time, code, seq, first, second, pid, tid, text.

The text is the start address, the name of a contradiction, the trace of a RecordingStart, or a fault as JSON.
"""

FAULT: Final = -1
"""The code of a row that could not be read or is invalid: its text is the fault, which is passed on."""

RECORDING_START: Final = 0
CONTRADICTION: Final = 7

CODES: Final = {
    "RecordingStart": (RECORDING_START, "start_time", "pointer_size"),
    "SourceStart": (1, None, None),
    "Loss": (2, "events", "buffers"),
    "ProcessStop": (PROCESS_STOP, None, None),
    "ProcessStart": (PROCESS_START, "creator_pid", "creator_tid"),
    "ProcessRundown": (PROCESS_RUNDOWN, "create_time", None),
    "ThreadRundown": (THREAD_RUNDOWN, None, None),
    "Contradiction": (CONTRADICTION, None, None),
    "ThreadStart": (THREAD_START, "creator_pid", "creator_tid"),
}
"""By kind: its code, and the columns of docs/reference/events.md that its first and second value come from.

At equal times, codes order rows as `etwdetect.core.order` orders events. The rule ignores other kinds.
"""

_EVENTS: Final[dict[int, Callable[..., Event]]] = {
    1: lambda time, *_: SourceStart(time),
    2: lambda time, events, buffers, *_: Loss(time, events, buffers or 0),
    PROCESS_STOP: lambda time, _first, _second, pid, *_: ProcessStop(time, pid),
    PROCESS_START: ProcessStart,
    PROCESS_RUNDOWN: lambda time, created, _second, pid, *_: ProcessRundown(time, pid, create_time=created),
    THREAD_RUNDOWN: lambda time, _first, _second, pid, tid, _: ThreadRundown(time, pid, tid),
}


class Hit(NamedTuple):
    """A remote thread, the row that it comes from, the machine's pointer size in bytes, and the trace's name."""

    host: str
    recording: str
    seq: int
    thread: RemoteThread
    pointer_size: int
    trace: str | None = None


class RecordingJudge:
    """Applies the rule to the rows of *recording* on *host*, which come in order; duplicate rows count once.

    Rows before the RecordingStart, or without one, are judged too. What came before them is not known, so all hits
    carry the evidence of a loss.
    """

    def __init__(self, host: str, recording: str, state: list[Any] | None = None) -> None:
        """Begin with nothing, or continue from a `snapshot`; ValueError where that is of another version."""
        self._host = host
        self._recording = recording
        self._rule: RemoteThreadRule | None = None
        self._pointer_size = 8
        self._trace: str | None = None
        self._last: tuple[int, int, int] = (0, -1, 0)
        if state is not None:
            self._pointer_size, self._trace, last, rule = state
            self._last = tuple(last)
            self._rule = None if rule is None else RemoteThreadRule.restore(RuleState(*rule))

    def judge(self, row: Row) -> Hit | Fault | None:
        """Take the next row; return the remote thread that it is, or what is wrong with it, or None."""
        time, code, seq, first, second, pid, tid, address = row
        if self._last == (time, code, seq):
            return None
        self._last = (time, code, seq)
        rule = self._rule
        if rule is None:
            rule = self._rule = RemoteThreadRule(session_start=first if code == RECORDING_START else None)
            if code != RECORDING_START:
                rule.observe(Loss(time, 1))
        if code == THREAD_START:
            misses, event = rule.possible_miss_count, ThreadStart(time, first, second, pid, tid)  # type: ignore[arg-type]
            thread = rule.observe(event)
            if thread is not None:
                return self._hit(seq, thread, address)
            is_miss = rule.possible_miss_count > misses
            return Fault(possible_miss(event), self._host, self._recording, seq) if is_miss else None
        if code == RECORDING_START:
            self._pointer_size = second or 8
            self._trace = address
        elif code == CONTRADICTION:
            rule.observe(Contradiction(time, address or "", pid))
        else:
            rule.observe(_EVENTS[code](time, first, second, pid, tid, None))
        return None

    def _hit(self, seq: int, thread: RemoteThread, address: str | None) -> Hit | Fault:
        if address is not None:
            if not _ADDRESS.fullmatch(address):
                fault = "has a start_address that is not an address such as 0x7FFC0000"
                return Fault(fault, self._host, self._recording, seq)
            thread = thread._replace(start_address=int(address, 16))
        return Hit(self._host, self._recording, seq, thread, self._pointer_size, self._trace)

    @property
    def rule(self) -> RemoteThreadRule:
        """The rule as it is, or a new one."""
        return self._rule or RemoteThreadRule()

    def snapshot(self) -> list[Any]:
        """Return the state to continue from, in plain values."""
        now = self._last[0]
        return [
            self._pointer_size,
            self._trace,
            self._last,
            None if self._rule is None else self._rule.snapshot(now),
        ]


def check_state(state: list[Any]) -> None:
    """Raise ValueError where *state*, a `RecordingJudge.snapshot`, is of another version."""
    rule = state[3]
    if rule is not None:
        check_version(rule[0])


class SortedJudge:
    """Judges rows of many recordings: all rows of a key together and in order; recordings may share a key."""

    def __init__(self) -> None:
        self._key: int | None = None
        self._judges: dict[tuple[str, str], RecordingJudge] = {}

    def judge(self, key: int, host: str, recording: str, row: Row) -> Hit | Fault | None:
        """Take the next row; return the remote thread that it is, or what is wrong with it, or None."""
        if row[1] == FAULT:
            return Fault.of_text(host, recording, row[2], row[7])
        if key != self._key:
            self._key = key
            self._judges.clear()
        judge = self._judges.get((host, recording))
        if judge is None:
            judge = self._judges[host, recording] = RecordingJudge(host, recording)
        return judge.judge(row)

    def rule(self, key: int) -> RemoteThreadRule | None:
        """Return the rule of the recording with *key*, or None where several have it."""
        judges = list(self._judges.values()) if key == self._key else []
        if len(judges) > 1:
            return None
        return judges[0].rule if judges else RemoteThreadRule()
