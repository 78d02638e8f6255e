"""The state of the rule between two events, in plain values: for an engine that keeps checkpoints.

`RemoteThreadRule.snapshot` makes it and `RemoteThreadRule.restore` takes it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

STATE_VERSION: Final = 1
"""Raise it with every change that an older or newer etwdetect would misread."""


class RuleState(NamedTuple):
    """The state of a rule.

    *new_processes* are the entries of the new-process table, the oldest first. *session_start* is a FILETIME,
    None where it is not known or no longer matters; *known* are the processes that did not start unseen before
    it. *overflowed* are the processes that may have been evicted. *contradictions* has the names of those about
    each process, and under None of those about the whole recording.
    """

    version: int
    bound: int
    new_processes: tuple[int, ...]
    evictions: int
    session_start: int | None
    known: tuple[int, ...]
    overflowed: tuple[int, ...]
    overflow_began: bool
    all_overflowed: bool
    events_lost: int
    buffers_lost: int
    contradictions: tuple[tuple[int | None, tuple[str, ...]], ...] = ()


def check_version(version: int) -> None:
    """Raise ValueError where a `RuleState` of *version* can't be read."""
    if version != STATE_VERSION:
        raise ValueError(f"the rule's state has version {version}; this etwdetect reads version {STATE_VERSION}")
