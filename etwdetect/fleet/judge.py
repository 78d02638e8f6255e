"""The rule over the rows of many recordings: the part of the fleet engine that knows no Spark.

A row here is a tuple: time, code (what kind of event, in the order of the rule), seq, and five values whose
meaning depends on the code (`CODES`). Rows of one recording are judged in the order of their first three values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from etwdetect.events import Loss, ProcessRundown, ProcessStart, ProcessStop, ThreadRundown, ThreadStart
from etwdetect.rule import RemoteThreadRule
from etwdetect.rule_state import RuleState, rule_from, state_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from etwdetect.events import Event
    from etwdetect.rule import RemoteThread

Row = tuple[int, int, int, int | None, int | None, int | None, int | None, str | None]
"""time, code, seq, first, second, pid, tid, text. The text is the start address."""

FAULT: Final = -1
"""The code of a row that could not be read or makes no sense: it goes through, its text being the fault."""

RECORDING_START: Final = 0
THREAD_START: Final = 6

CODES: Final = {
    "RecordingStart": (RECORDING_START, "start_time", "pointer_size"),
    "Loss": (1, "events", "buffers"),
    "ProcessStop": (2, None, None),
    "ProcessStart": (3, "creator_pid", "creator_tid"),
    "ProcessRundown": (4, "create_time", None),
    "ThreadRundown": (5, None, None),
    "ThreadStart": (THREAD_START, "creator_pid", "creator_tid"),
}
"""By kind: its code, and the columns of docs/events.md that its first and second value come from.

At the same time codes order rows as `etwdetect.order` orders events. Kinds that are not here mean nothing to the
rule.
"""

_EVENTS: Final[dict[int, Callable[..., Event]]] = {
    1: lambda time, events, buffers, *_: Loss(time, events, buffers),
    2: lambda time, _first, _second, pid, *_: ProcessStop(time, pid),
    3: ProcessStart,
    4: lambda time, created, _second, pid, *_: ProcessRundown(time, pid, create_time=created),
    5: lambda time, _first, _second, pid, tid, _: ThreadRundown(time, pid, tid),
}


class Hit(NamedTuple):
    """A remote thread, the seq of its row, and the machine's pointer size in bytes."""

    seq: int
    thread: RemoteThread
    pointer_size: int


class Fault(NamedTuple):
    """A row that goes through: its seq, and what is wrong, as JSON: fault, and file and offset where known."""

    seq: int | None
    text: str


class RecordingJudge:
    """Applies the rule to the rows of one recording, which come in order; a row that comes twice counts once.

    Rows that come before the RecordingStart, or without one, are judged too: what was before them is not known, so
    all hits are marked as after a loss.
    """

    def __init__(self) -> None:
        self._rule: RemoteThreadRule | None = None
        self._pointer_size = 8
        self._last: tuple[int, int, int] = (0, -1, 0)

    def judge(self, row: Row) -> Hit | None:
        """Take the next row; return the remote thread that it is, if it is one."""
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
            start = ThreadStart(time, first, second, pid, tid, None if address is None else int(address, 16))  # type: ignore[arg-type]
            thread = rule.observe(start)
            return None if thread is None else Hit(seq, thread, self._pointer_size)
        if code == RECORDING_START:
            self._pointer_size = second or 8
        else:
            rule.observe(_EVENTS[code](time, first, second, pid, tid, None))
        return None

    def state(self) -> list[Any]:
        """Return what `restore` needs to go on from here, in plain values."""
        now = self._last[0]
        return [self._pointer_size, self._last, None if self._rule is None else state_of(self._rule, now)]

    def restore(self, state: list[Any]) -> None:
        """Go on from a `state`; ValueError where it is of another version."""
        self._pointer_size, last, rule = state
        self._last = tuple(last)
        self._rule = None if rule is None else rule_from(RuleState(*rule))


def judge_sorted(rows: Iterable[tuple[str, str, Row]]) -> Iterator[tuple[str, str, Hit | Fault]]:
    """Judge (host, recording, row) whose recordings come one after the other, each in order."""
    here: tuple[str, str] | None = None
    judge = RecordingJudge()
    for host, recording, row in rows:
        if row[1] == FAULT:
            yield host, recording, Fault(row[2], row[7] or "")
            continue
        if (host, recording) != here:
            here, judge = (host, recording), RecordingJudge()
        hit = judge.judge(row)
        if hit is not None:
            yield host, recording, hit
