"""A scenario in sentences, to be read aloud."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Final

from etwdetect.parity.steps import Repeat, duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from etwdetect.parity.scenario import Expected, Machine, Scenario
    from etwdetect.parity.steps import Step

_WIDTH: Final = 100


def describe(scenario: Scenario) -> Iterator[str]:
    """Yield the lines that tell *scenario*: its title, why it matters, the steps, what must be reported."""
    yield scenario.title
    yield ""
    yield from textwrap.wrap(scenario.why, _WIDTH)
    yield ""
    running = [actor.name for actor in scenario.actors.values() if actor.running and actor.pid not in (0, 4)]
    if running:
        yield f"Running from the beginning: {', '.join(running)}."
    yield from _machine(scenario.machine)
    yield "Steps:"
    yield from _steps(scenario.steps, "  ")
    yield ""
    yield "Must be reported:"
    yield from _reports(scenario.expect)
    if scenario.book_driver is not None:
        yield ""
        yield "The published driver would report instead:"
        yield from _reports(scenario.book_driver.reports)
        yield from textwrap.wrap(scenario.book_driver.why, _WIDTH, initial_indent="  ", subsequent_indent="  ")


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
        below = indent + "   "
        yield from textwrap.wrap(f"{start}{step.sentence()}.", _WIDTH, subsequent_indent=below)


def _reports(reports: Iterable[Expected]) -> Iterator[str]:
    sentences = [expected.sentence() for expected in reports]
    for sentence in sentences or ["nothing"]:
        yield f"  - {sentence}"
