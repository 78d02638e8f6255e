"""Which debuggers of a scenario cdb can play: those that do nothing but debug one process, once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parity_tests.steps import AttachDebugger, BreakIn, Detach, StartProcess, StartUnderDebugger

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from parity_tests.steps import Step


def debuggers(steps: Iterable[Step]) -> list[str]:
    """Return who debugs somebody in *steps*, repetitions written out, in the order in which they begin to."""
    begin = (AttachDebugger, StartUnderDebugger)
    return list(dict.fromkeys(step.by.process for step in steps if isinstance(step, begin)))


def for_cdb(steps: Sequence[Step]) -> frozenset[str]:
    """Return those of the `debuggers` of *steps* that cdb can play.

    cdb comes with its debuggee and goes without it, so the process must not be there for anybody else before or
    after, must not do anything else, and nothing may be done to it but that somebody starts it. Nor may it let go
    of what it broke into: to take that order, cdb would have to break in once more.
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


def _only_debugs(deeds: Sequence[Step]) -> bool:
    """Whether *deeds* are an attach or a debugged start and then breaks, or a look from outside and its end."""
    first, *others = deeds
    match first:
        case AttachDebugger(invasive=False):
            goes_on = len(others) <= 1 and all(isinstance(step, Detach) for step in others)
        case AttachDebugger() | StartUnderDebugger():
            goes_on = all(isinstance(step, BreakIn) for step in others)
        case _:
            return False
    return goes_on and len({step.process for step in deeds}) == 1
