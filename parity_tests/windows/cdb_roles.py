"""Which processes of a scenario can be cdb: those that do nothing but debug one process, once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parity_tests.steps import AttachDebugger, BreakIn, Detach, StartProcess, StartUnderDebugger

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from parity_tests.steps import Step


def debuggers(steps: Iterable[Step]) -> list[str]:
    """Return the processes that debug another in *steps*, in the order in which they start to."""
    begin = (AttachDebugger, StartUnderDebugger)
    return list(dict.fromkeys(step.by.process for step in steps if isinstance(step, begin)))


def for_cdb(steps: Sequence[Step]) -> frozenset[str]:
    """Return those of the `debuggers` of *steps* that can be cdb.

    cdb starts with its debuggee and ends on its own, so the process must do nothing else, and no step but its
    start may act on it. Nor may it detach from a process that it broke into: cdb takes that command only after
    another break-in.
    """
    return frozenset(
        name
        for name in debuggers(steps)
        if _only_debugs([step for step in steps if _by(step) == name])
        and all(type(step) is StartProcess and step.parent is None for step in steps if step.process == name)
        and not any(getattr(step, "parent", None) == name for step in steps)
    )


def _by(step: Step) -> str | None:
    by = getattr(step, "by", None)
    return by.process if by else None


def _only_debugs(steps: Sequence[Step]) -> bool:
    """Whether *steps* are an attach or a debugged start, then breaks; or a non-invasive attach and its detach."""
    first, *others = steps
    match first:
        case AttachDebugger(invasive=False):
            goes_on = len(others) <= 1 and all(isinstance(step, Detach) for step in others)
        case AttachDebugger() | StartUnderDebugger():
            goes_on = all(isinstance(step, BreakIn) for step in others)
        case _:
            return False
    return goes_on and len({step.process for step in steps}) == 1
