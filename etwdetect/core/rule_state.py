"""All that the rule has to remember between two events, in plain values: for an engine that keeps checkpoints.

Beside rule.py, so that the rule itself can be read without it.
"""

# ruff: noqa: SLF001 (this is the rule's own state)

from __future__ import annotations

from collections import OrderedDict
from typing import Final, NamedTuple

from etwdetect.core.rule import SESSION_START_MARGIN, RemoteThreadRule

STATE_VERSION: Final = 1
"""It grows with every change that an older or newer etwdetect would misread."""


class RuleState(NamedTuple):
    """The state of a rule; *waiting* are the processes in the new-process table, from the oldest on."""

    version: int
    bound: int
    waiting: tuple[int, ...]
    evictions: int
    session_start: int | None
    known: tuple[int, ...]
    overflowed: tuple[int, ...]
    overflow_began: bool
    all_overflowed: bool
    events_lost: int
    buffers_lost: int


def state_of(rule: RemoteThreadRule, now: int) -> RuleState:
    """Return what `rule_from` needs to go on from here; the counts are not part of it.

    *now* is the FILETIME of the last event: what no event from then on can need is left out.
    """
    start, overflow = rule._start, rule._overflow
    margin_is_over = start._time is None or now - start._time > SESSION_START_MARGIN
    return RuleState(
        STATE_VERSION,
        rule.table.bound,
        tuple(rule.table),
        rule.table.evictions,
        None if margin_is_over else start._time,
        () if margin_is_over else tuple(sorted(start._known)),
        tuple(sorted(overflow._pids)),
        overflow._began,
        overflow._everything,
        rule._events_lost,
        rule._buffers_lost,
    )


def check_version(version: int) -> None:
    """Raise ValueError where a `RuleState` of *version* can't be read."""
    if version != STATE_VERSION:
        raise ValueError(f"the rule's state has version {version}, and this is version {STATE_VERSION}")


def rule_from(state: RuleState) -> RemoteThreadRule:
    """Return a rule that goes on where `state_of` was called; ValueError for a state of another version."""
    check_version(state.version)
    rule = RemoteThreadRule(state.bound, state.session_start)
    rule.table._pids = OrderedDict.fromkeys(state.waiting)
    rule.table.evictions = state.evictions
    rule._start._known = set(state.known)
    rule._overflow._pids = set(state.overflowed)
    rule._overflow._began = state.overflow_began
    rule._overflow._everything = state.all_overflowed
    rule._events_lost = state.events_lost
    rule._buffers_lost = state.buffers_lost
    return rule
