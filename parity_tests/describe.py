"""Describes a scenario in English sentences."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Final

from parity_tests.scenario import IDLE, SYSTEM
from parity_tests.steps import Repeat, ThreadRef, duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from parity_tests.scenario import Expected, Machine, Scenario, ScenarioProcess
    from parity_tests.steps import Step

_WIDTH: Final = 100


def describe(scenario: Scenario) -> Iterator[str]:
    """Yield the lines that describe *scenario*: its title, why it matters, its steps, the expected reports."""
    yield scenario.title
    yield ""
    yield from _wrapped(scenario.why)
    yield ""
    yield from _processes(scenario.processes.values())
    yield from _machine(scenario.machine)
    yield "Steps:"
    yield from _steps(scenario.steps, "  ")
    yield ""
    yield "Must be reported:"
    yield from _reports(scenario.expect)
    for who, other in (("The published driver", scenario.book_driver), ("Sysmon", scenario.sysmon)):
        if other is not None:
            yield ""
            yield f"{who} would report instead:"
            yield from _reports(other.reports)
            yield from _wrapped(f"  {other.why}", below="  ")


def _processes(processes: Iterable[ScenarioProcess]) -> Iterator[str]:
    own = [process for process in processes if process.name not in (SYSTEM, IDLE)]
    running = [process.name for process in own if process.running]
    if running:
        yield from _wrapped(f"Running from the beginning: {', '.join(running)}.")
    ids = [f"{process.name} {process.pid}" for process in own if process.pid is not None]
    if ids:
        yield from _wrapped(f"Process ids: {', '.join(ids)}.")
    threads = [(ThreadRef(process.name, name), tid) for process in own for name, tid in process.threads.items()]
    ids = [f"{thread} {tid}" for thread, tid in threads if tid is not None]
    if ids:
        yield from _wrapped(f"Thread ids: {', '.join(ids)}.")


def _machine(machine: Machine) -> Iterator[str]:
    if machine.cpus > 1:
        yield f"The machine has {machine.cpus} CPUs; their events arrive a buffer at a time."
    if machine.clock_tick > 1:
        yield f"Its clock ticks every {duration(machine.clock_tick)}."
    if machine.table_bound != type(machine)().table_bound:
        yield f"The tables of new processes have room for {machine.table_bound:,}."


def _steps(steps: Iterable[Step], indent: str) -> Iterator[str]:
    for number, step in enumerate(steps, 1):
        when = "" if step.after is None else f"{duration(step.after)} later, "
        start = f"{indent}{number}. {when}"
        if isinstance(step, Repeat):
            yield f"{start}{step.times:,} times, every {duration(step.every)}:"
            yield from _steps(step.steps, indent + "   ")
            continue
        yield from _wrapped(f"{start}{step.sentence()}.", below=indent + "   ")


def _reports(reports: Iterable[Expected]) -> Iterator[str]:
    sentences = [expected.sentence() for expected in reports]
    for sentence in sentences or ["nothing"]:
        yield from _wrapped(f"  - {sentence}", below="    ")


def _wrapped(text: str, below: str = "") -> list[str]:
    return textwrap.wrap(text, _WIDTH, subsequent_indent=below)
