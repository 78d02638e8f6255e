"""Which scenarios can be performed with real processes, and why others cannot."""

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
"""A lower limit: creating a thread takes about 5 ms in Wine, most of it for the notifications."""

_NO_PROGRAM: Final = (SYSTEM, IDLE)


def obstacle(scenario: Scenario, *, notify: bool) -> str | None:
    """Return why *scenario* cannot be performed, or None if it can.

    *notify*: we notify both detectors, as in Wine. Then a process can be announced before its first thread, and
    the driver can be loaded with another bound.
    """
    return next(_obstacles(scenario, notify=notify), None)


def other_bound(scenario: Scenario) -> str | None:
    """Return why the driver as it is loaded is not for *scenario*, or None if it is."""
    bound = scenario.machine.table_bound
    if bound == DEFAULT_BOUND:
        return None
    return f"the loaded driver has room for {DEFAULT_BOUND:,} new processes, not for {bound:,}"


def _obstacles(scenario: Scenario, *, notify: bool) -> Iterator[str]:
    machine = scenario.machine
    if machine.clock_tick > 1:
        yield "the clock tick of a real machine is fixed"
    if not notify and (why := other_bound(scenario)):
        yield why
    for reused, times in _ids(scenario).items():
        if times > 1:
            yield f"two processes or threads have the id {reused}, and Windows chooses real ids"
    for number, step in enumerate(scenario.steps, 1):
        for each in step.steps if isinstance(step, Repeat) else (step,):
            yield from (f"step {number} ({each.action}): {why}" for why in _impossible(each, notify=notify))
    processes = _processes(scenario.steps)
    if processes > MOST_PROCESSES:
        yield f"it starts {processes:,} processes; this bench starts at most {MOST_PROCESSES}"
    count = sum(step.times * len(step.steps) if isinstance(step, Repeat) else 1 for step in scenario.steps)
    most = MOST_STEPS_IN_WINE if notify else MOST_STEPS
    if count > most:
        yield f"it has {count:,} steps; this bench performs at most {most:,}"


def _ids(scenario: Scenario) -> Counter[int]:
    """Count how often each id is assigned."""
    ids = Counter(process.pid for process in scenario.processes.values() if process.pid is not None)
    ids.update(
        step.tid for step in scenario.flat_steps() if isinstance(step, MakesThread) and step.tid is not None
    )
    return ids


def _impossible(step: Step, *, notify: bool) -> Iterator[str]:
    if step.lost_by_etw:
        yield "lost events cannot be simulated"
    if step.process in _NO_PROGRAM:
        yield f"this cannot be done to {step.process}"
    by = getattr(step, "by", None)
    if by is not None and by.process in _NO_PROGRAM:
        yield f"{by.process} runs no agent"
    match step:
        case MakesThread(etw_creator="unknown"):
            yield "ETW logs the creator"
        case ConsoleControl():
            yield "csrss creates this thread, and runs no agent"
        case CreateProcessWithoutThread():
            yield "no documented call of Windows does this"
        case BeginProcess() | FirstThread() if not notify:
            yield "Windows creates a process and its first thread in one call"
        case MakesThread(at="kernel"):
            yield "threads of a program do not start in the kernel"


def _processes(steps: Iterable[Step]) -> int:
    return sum(
        step.times * _processes(step.steps)
        if isinstance(step, Repeat)
        else isinstance(step, (StartProcess, BeginProcess))
        for step in steps
    )
