"""The model bench: the rule is given events in memory, the driver runs in the simulated kernel."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from etwdetect.comparison.pairing import Equality
from etwdetect.core.events import Loss
from etwdetect.core.order import EventSorter
from etwdetect.core.rule import RemoteThreadRule
from parity_tests.benches import Bench
from parity_tests.benches.sides import driver_side, etw_side
from parity_tests.simulators.build import library
from parity_tests.timeline import tell
from parity_tests.verdict import Observation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Self

    from etwdetect.core.events import Event
    from parity_tests.scenario import Scenario
    from parity_tests.timeline import Fact

_BUFFER: Final = 64
"""How many events a CPU's buffer holds here."""


class ModelBench(Bench):
    """Tells both detectors the story in memory."""

    name = "model"

    def __enter__(self) -> Self:
        library()
        return self

    def perform(self, scenario: Scenario) -> Observation:
        """Let the story happen before both detectors."""
        story = tell(scenario)
        bound = scenario.machine.table_bound
        rule = RemoteThreadRule(bound, story.session_start)
        sorter = EventSorter()
        for event in delivered(story.etw_facts()):
            sorter.add(event)
        rule.observe(Loss(story.session_start, story.events_lost))
        records = [hit for event in sorter if (hit := rule.observe(event))]
        etw = etw_side(rule, records, story.events_lost)
        return Observation(etw, driver_side(story.kernel_events(), bound), Equality.EXACT, story.cast)


def delivered(facts: Iterable[Fact]) -> Iterator[Event]:
    """Yield the events in the order in which ETW delivers them: a buffer of a CPU at a time, when it is full."""
    buffers: defaultdict[int, list[Event]] = defaultdict(list)
    for fact in facts:
        buffer = buffers[fact.cpu]
        buffer.append(fact.to_etw())
        if len(buffer) == _BUFFER:
            yield from buffers.pop(fact.cpu)
    for _, buffer in sorted(buffers.items()):
        yield from buffer


bench = ModelBench
