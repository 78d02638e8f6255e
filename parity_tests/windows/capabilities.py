"""Which scenarios can be performed with real processes, and why the others can't."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from etwdetect.core.rule import DEFAULT_BOUND
from parity_tests.scenario import IDLE, SYSTEM
from parity_tests.steps import (
    BeginProcess,
    ConsoleControl,
    CreateProcessWithoutThread,
    FirstThread,
    MakesThread,
    Repeat,
    StartProcess,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from parity_tests.scenario import Scenario
    from parity_tests.steps import Step

MOST_PROCESSES: Final = 100
MOST_STEPS: Final = 25_000
MOST_STEPS_IN_WINE: Final = 1000
"""More are not performed. A thread takes some 5 ms in Wine, where most of it goes into telling of it."""

_NO_PROGRAM: Final = (SYSTEM, IDLE)


def obstacle(scenario: Scenario, *, told: bool) -> str | None:
    """Return why *scenario* can't be performed; None where it can.

    *told*: it is we who tell both detectors, as in Wine. Then a process can be told of before its first thread is,
    and the driver be loaded with another bound.
    """
    return next(_obstacles(scenario, told=told), None)


def _obstacles(scenario: Scenario, *, told: bool) -> Iterator[str]:
    machine = scenario.machine
    if machine.clock_tick > 1:
        yield "the ticks of a real clock can't be chosen"
    if machine.table_bound != DEFAULT_BOUND and not told:
        yield f"the loaded driver has room for {DEFAULT_BOUND:,} new processes, not for {machine.table_bound:,}"
    for reused, times in _ids(scenario).items():
        if times > 1:
            yield f"{reused} is an id of two lives, and real ids can't be chosen"
    for number, step in enumerate(scenario.steps, 1):
        for each in step.steps if isinstance(step, Repeat) else (step,):
            yield from (f"step {number} ({each.action}): {why}" for why in _impossible(each, told=told))
    processes = _processes(scenario.steps)
    if processes > MOST_PROCESSES:
        yield f"it starts {processes:,} processes, and {MOST_PROCESSES} at the most are started here"
    count = sum(step.times * len(step.steps) if isinstance(step, Repeat) else 1 for step in scenario.steps)
    most = MOST_STEPS_IN_WINE if told else MOST_STEPS
    if count > most:
        yield f"it has {count:,} steps, and {most:,} at the most are performed here"


def _ids(scenario: Scenario) -> Counter[int]:
    """Count how often each id is given out."""
    ids = Counter(actor.pid for actor in scenario.actors.values() if actor.pid is not None)
    ids.update(
        step.tid for step in scenario.flat_steps() if isinstance(step, MakesThread) and step.tid is not None
    )
    return ids


def _impossible(step: Step, *, told: bool) -> Iterator[str]:
    if step.lost_by_etw:
        yield "what ETW loses can't be chosen"
    if step.process in _NO_PROGRAM:
        yield f"nobody can do that to {step.process}"
    by = getattr(step, "by", None)
    if by is not None and by.process in _NO_PROGRAM:
        yield f"{by.process} takes no orders"
    match step:
        case MakesThread(etw_creator="unknown"):
            yield "ETW knows who did this"
        case ConsoleControl():
            yield "csrss, which does this, takes no orders"
        case CreateProcessWithoutThread():
            yield "no documented call of Windows does this"
        case BeginProcess() | FirstThread() if not told:
            yield "Windows makes a process and its first thread in one call"
        case MakesThread(at="kernel"):
            yield "a program's threads don't start in the kernel"


def _processes(steps: Iterable[Step]) -> int:
    return sum(
        step.times * _processes(step.steps)
        if isinstance(step, Repeat)
        else isinstance(step, (StartProcess, BeginProcess))
        for step in steps
    )
