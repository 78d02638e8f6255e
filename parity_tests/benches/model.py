"""The model bench: the rule gets events in memory; the driver runs in the simulated kernel."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from etwdetect.comparison.pairing import Equality
from etwdetect.core.events import Loss
from etwdetect.core.order import EventSorter
from etwdetect.core.rule import RemoteThreadRule
from parity_tests.benches import Bench
from parity_tests.benches.sides import driver_side, etw_side
from parity_tests.evaluation import Observation
from parity_tests.simulators.build import library
from parity_tests.timeline import expand

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Self

    from etwdetect.core.events import Event
    from parity_tests.scenario import Scenario
    from parity_tests.timeline import TimelineEvent

_BUFFER: Final = 64
"""The number of events in a CPU's buffer."""


class ModelBench(Bench):
    """Gives the timeline to both detectors in memory."""

    name = "model"

    def __enter__(self) -> Self:
        library()
        return self

    def perform(self, scenario: Scenario) -> Observation:
        """Perform *scenario* and return what both detectors reported."""
        timeline = expand(scenario)
        bound = scenario.machine.table_bound
        rule = RemoteThreadRule(bound, timeline.session_start)
        sorter = EventSorter()
        for event in delivered(timeline.etw_entries()):
            sorter.add(event)
        rule.observe(Loss(timeline.session_start, timeline.events_lost))
        records = [hit for event in sorter if (hit := rule.observe(event))]
        etw = etw_side(rule, records, timeline.events_lost)
        return Observation(etw, driver_side(timeline.kernel_events(), bound), Equality.EXACT, timeline.processes)


def delivered(entries: Iterable[TimelineEvent]) -> Iterator[Event]:
    """Yield the events in the order in which ETW delivers them: one full buffer of one CPU at a time."""
    buffers: defaultdict[int, list[Event]] = defaultdict(list)
    for entry in entries:
        buffer = buffers[entry.cpu]
        buffer.append(entry.to_etw())
        if len(buffer) == _BUFFER:
            yield from buffers.pop(entry.cpu)
    for _, buffer in sorted(buffers.items()):
        yield from buffer


bench = ModelBench
