"""Which of many events the rule must see: the others are told in columns to change nothing, and only counted.

The rule stays the only judge. What is passed over here is what it would count and forget: a thread start of no
interest into a process that is not waiting for its first thread, and a process that starts, gets its threads and
exits among events that are looked at together. It may pass too little over, never too much.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from etwdetect.core.events import UNKNOWN_ID
from etwdetect.core.rule import EXCLUDED_PIDS, RuleCounts

if TYPE_CHECKING:
    import numpy.typing as npt

    from etwdetect.core.rule import RemoteThreadRule

    Flags = npt.NDArray[np.bool_]
    Numbers = npt.NDArray[np.integer[Any]]

PROCESS_STOP: Final = 3
PROCESS_START: Final = 4
PROCESS_RUNDOWN: Final = 5
THREAD_RUNDOWN: Final = 6
THREAD_START: Final = 8
"""The codes of events in columns; other codes are never passed over."""


def passed_over(  # noqa: PLR0913, PLR0917 (columns)
    code: Numbers,
    pid: Numbers,
    creator: Numbers,
    rule: RemoteThreadRule,
    seen: Flags | None = None,
    recording: Numbers | None = None,
) -> Flags:
    """Return which of the next events of *rule*, in its order, it need not see.

    *pid* is the process that an event is about, *creator* that which created a thread. *seen*, where given, are
    events that the rule sees whatever this returns. Where *recording* is given, events with different ones are of
    different rules, all new but the first.
    """
    process = pid if recording is None else (recording.astype(np.int64) << 32) + pid
    order = np.argsort(process, kind="stable")  # the events of each process together, in order
    code, pid, creator, process = code[order], pid[order], creator[order], process[order]
    begins = np.concatenate(([True], process[1:] != process[:-1]))[: len(pid)]
    before = np.concatenate(([0], code[:-1]))[: len(code)]
    """The code of the event before, in the same process or another."""
    thread, starts, stops = code == THREAD_START, code == PROCESS_START, code == PROCESS_STOP
    quiet = thread & _never_remote(pid, creator)
    passed = quiet & ~_waits(pid, begins, thread | starts | stops, starts, rule)
    listed = code == THREAD_RUNDOWN
    again = listed & (before == THREAD_RUNDOWN) & ~begins
    remembered = np.count_nonzero(starts | (code == PROCESS_RUNDOWN) | (listed & ~again))
    if recording is None and remembered < rule.room:
        behind = stops | (thread & (quiet | (before == PROCESS_START)))
        unseen = np.True_ if seen is None else ~seen[order]
        passed |= again | _whole_lives(pid, begins, starts & unseen, behind & unseen, stops, rule)
    result: Flags = np.empty_like(passed)
    result[order] = passed
    return result


def counts_of(code: Numbers, pid: Numbers, creator: Numbers) -> RuleCounts:
    """Return how the rule counts events that were `passed_over`."""
    thread = code == THREAD_START
    pid, creator = pid[thread], creator[thread]
    unknown = int(np.count_nonzero(creator == UNKNOWN_ID))
    own = int(np.count_nonzero((creator == pid) & (creator != UNKNOWN_ID)))
    never_remote = int(np.count_nonzero(_never_remote(pid, creator)))
    excluded, first = never_remote - own - unknown, len(pid) - never_remote
    return RuleCounts(own=own, excluded=excluded, first=first, unknown=unknown)


def _never_remote(pid: Numbers, creator: Numbers) -> Flags:
    """Return which thread starts meet one of the first three lines of the rule."""
    found: Flags = (creator == pid) | (creator == UNKNOWN_ID)
    for excluded in EXCLUDED_PIDS:
        found |= (creator == excluded) | (pid == excluded)
    return found


def _waits(pid: Numbers, begins: Flags, changes: Flags, starts: Flags, rule: RemoteThreadRule) -> Flags:
    """Return at which events, grouped by process, the process may be in the new-process table."""
    numbers = np.arange(len(pid))
    latest = np.maximum.accumulate(np.where(changes, numbers, -1))
    latest = np.concatenate(([-1], latest[:-1]))[: len(pid)]  # before the event itself
    first = np.maximum.accumulate(np.where(begins, numbers, 0))
    changed = latest >= first
    waits: Flags = changed & starts[latest]
    if len(rule.table):
        waits |= ~changed & np.isin(pid, np.fromiter(rule.table, pid.dtype, len(rule.table)))
    return waits


def _whole_lives(  # noqa: PLR0913, PLR0917 (columns)
    pid: Numbers, begins: Flags, starts: Flags, behind: Flags, stops: Flags, rule: RemoteThreadRule
) -> Flags:
    """Return which events, grouped by process, belong to a process that starts and exits among them.

    All events *behind* its start are of no interest, and nothing is remembered of the id from before.
    """
    behind_stop = np.concatenate(([False], stops[:-1]))[: len(stops)]
    parts = begins | behind_stop
    firsts = np.flatnonzero(parts)
    if not len(firsts):
        return np.zeros(len(pid), np.bool_)
    lasts = np.concatenate((firsts[1:], [len(pid)])) - 1
    whole = np.logical_and.reduceat(np.where(parts, starts, behind), firsts) & stops[lasts]
    known = rule.remembered
    if known:
        clean = ~begins[firsts] | ~np.isin(pid[firsts], np.fromiter(known, pid.dtype, len(known)))
        whole &= clean
    lives: Flags = np.repeat(whole, lasts - firsts + 1)
    return lives
