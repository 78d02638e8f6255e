"""The model bench: the rule is given events in memory, the driver runs in the simulated kernel."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from etwdetect.events import Loss
from etwdetect.order import EventSorter
from etwdetect.parity.benches import Bench
from etwdetect.parity.benches.sides import driver_side, etw_side
from etwdetect.parity.comparison import Equality
from etwdetect.parity.simbuild import library
from etwdetect.parity.story import tell
from etwdetect.parity.verdict import Observation
from etwdetect.rule import RemoteThreadRule

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Self

    from etwdetect.events import Event
    from etwdetect.parity.scenario import Scenario
    from etwdetect.parity.story import Fact

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
