"""Which of many events the rule must see: the others are told in columns to change nothing, and only counted.

The rule stays the only judge. What is passed over here is what it would count and forget: a thread start of no
interest into a process that is not waiting for its first thread, and a process that starts, gets its threads and
exits among events that are looked at together. It may pass too little over, never too much.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from etwdetect.core.consistency import NO_PROCESSES
from etwdetect.core.events import UNKNOWN_ID
from etwdetect.core.rule import EXCLUDED_PIDS, RuleCounts

if TYPE_CHECKING:
    from collections.abc import Collection

    import numpy.typing as npt

    from etwdetect.core.consistency import Consistency
    from etwdetect.core.rule import RemoteThreadRule

    Flags = npt.NDArray[np.bool_]
    Numbers = npt.NDArray[np.integer[Any]]

LOSS: Final = 2
PROCESS_STOP: Final = 3
PROCESS_START: Final = 4
PROCESS_RUNDOWN: Final = 5
THREAD_RUNDOWN: Final = 6
THREAD_START: Final = 8
"""The codes of events in columns; other codes are never passed over."""

IMAGE_LOAD: Final = 11
IMAGE_LISTING: Final = 12
IMAGE_UNLOAD: Final = 13
"""The codes of image events: an image was mapped, was found to be mapped, or was unmapped."""


def passed_over(  # noqa: PLR0913, PLR0917 (columns)
    code: Numbers,
    pid: Numbers,
    creator: Numbers,
    rule: RemoteThreadRule,
    consistency: Consistency | None = None,
    seen: Flags | None = None,
    recording: Numbers | None = None,
) -> Flags:
    """Return which of the next events of *rule*, in its order, it need not see.

    *pid* is the process that an event is about, *creator* that which created a thread. *consistency*, where given,
    need not see them either, but must be told of each process that `lived`, at its exit: no other exit is passed
    over. *seen*, where given, are events that are seen whatever this returns. Where *recording* is given, events
    with different ones are of different rules, all new but the first.
    """
    if not len(code) or (consistency is not None and bool(np.any(code == LOSS))):
        return np.zeros(len(code), np.bool_)  # behind a loss, who runs is not known
    calm, calm_creator, lone = _calm(code, pid, creator, consistency)
    process = pid if recording is None else (recording.astype(np.int64) << 32) + pid
    order = np.argsort(process, kind="stable")  # the events of each process together, in order
    code, pid, creator, process = code[order], pid[order], creator[order], process[order]
    begins = np.concatenate(([True], process[1:] != process[:-1]))
    before = np.concatenate(([0], code[:-1]))
    """The code of the event before, in the same process or another."""
    thread, starts, stops = code == THREAD_START, code == PROCESS_START, code == PROCESS_STOP
    quiet = thread & _never_remote(pid, creator)
    passed = quiet & calm[order] & ~_waits(pid, begins, thread | starts | stops, starts, rule)
    listed = code == THREAD_RUNDOWN
    again = listed & (before == THREAD_RUNDOWN) & ~begins
    remembered = np.count_nonzero(starts | (code == PROCESS_RUNDOWN) | (listed & ~again))
    has_room = bool(remembered < rule.room)
    if consistency is not None:
        has_room &= bool(remembered + np.count_nonzero(stops) < consistency.room)
    if recording is None and has_room:
        behind = stops | (thread & calm_creator[order] & (quiet | (before == PROCESS_START)))
        alone = lone[order] if seen is None else lone[order] & ~seen[order]
        known = rule.remembered if consistency is None else rule.remembered.union(consistency.running)
        passed |= again | _whole_lives(pid, begins, starts & alone, behind & alone, stops, known)
    result: Flags = np.empty_like(passed)
    result[order] = passed
    return result


def _calm(
    code: Numbers, pid: Numbers, creator: Numbers, consistency: Consistency | None
) -> tuple[Flags, Flags, Flags]:
    """Return what *consistency* knows at each event: thread starts between processes that are sure to run.

    Behind it are those whose creator is sure to run or is the process itself, and the events of processes that
    make no thread in another one.
    """
    every = np.ones(len(code), np.bool_)
    if consistency is None:
        return every, every, every
    thread = code == THREAD_START
    acts = np.flatnonzero(thread | (code == THREAD_RUNDOWN))
    both = np.stack((pid[acts], np.where(thread[acts], creator[acts], pid[acts])), 1)
    ids, firsts, places = np.unique(both, return_index=True, return_inverse=True)
    never, always = len(code), -1
    special = _is_in(ids, NO_PROCESSES)
    runs = special | _is_in(ids, consistency.running)
    may_run = ~_is_in(ids, consistency.exited)
    since = np.where(may_run, acts[firsts // 2], never)
    if len(ids) >= consistency.room:
        since[:] = never
    since[runs & (may_run | ~special)] = always
    since[np.isin(ids, pid[code == PROCESS_STOP])] = never
    sure = since[places.reshape(both.shape)] < acts[:, None]
    calm, calm_creator = every.copy(), every.copy()
    calm[acts] = sure.all(axis=1)
    calm_creator[acts] = sure[:, 1] | (both[:, 0] == both[:, 1])
    lone = ~np.isin(pid, creator[thread & (creator != pid)])
    return calm, calm_creator, lone


def _is_in(ids: Numbers, known: Collection[int]) -> Flags:
    found: Flags = np.isin(ids, np.fromiter(known, np.int64, len(known)))
    return found


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
        waits |= ~changed & _is_in(pid, rule.table)
    return waits


def _whole_lives(  # noqa: PLR0913, PLR0917 (columns)
    pid: Numbers, begins: Flags, starts: Flags, behind: Flags, stops: Flags, known: Collection[int]
) -> Flags:
    """Return which events, grouped by process, belong to a process that starts and exits among them.

    All events *behind* its start are of no interest, and it is not *known* from before.
    """
    parts = begins | np.concatenate(([False], stops[:-1]))
    firsts = np.flatnonzero(parts)
    lasts = np.concatenate((firsts[1:], [len(pid)])) - 1
    whole = np.logical_and.reduceat(np.where(parts, starts, behind), firsts) & stops[lasts]
    whole &= ~begins[firsts] | ~_is_in(pid[firsts], known)
    lives: Flags = np.repeat(whole, lasts - firsts + 1)
    return lives
