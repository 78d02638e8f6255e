"""Both sides of the benches that need no Windows: the reports and counts of the rule and the simulated driver."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from etwdetect.comparison.result import Side
from parity_tests.simulators.build import library
from parity_tests.simulators.simkernel import SimKernel

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from etwdetect.core.rule import RemoteThread, RemoteThreadRule
    from etwdetect.enrich.detection import Detection
    from etwdetect.kdetector.interface import Statistics
    from parity_tests.simulators.simkernel import SimEvent

_AT_ONCE: Final = 8192
"""The number of events between two reads of the driver: at most the capacity of its queue."""


def driver_side(events: Iterable[SimEvent], bound: int) -> Side:
    """Play *events* in a simulated kernel with a freshly loaded driver.

    Loading and unloading takes a quarter of a millisecond and leaves none of the driver's state behind, so no
    separate process is needed.
    """
    records: list[RemoteThread] = []
    left = iter(events)
    with SimKernel(library(), table_bound=bound) as kernel:
        while kernel.play(islice(left, _AT_ONCE)):
            records += kernel.drain()
        return Side(records, driver_statistics(kernel.statistics()))


def driver_statistics(counted: Statistics) -> dict[str, int]:
    """Return the driver's counts under the names that `Side` uses."""
    return {
        "threads": counted.threads_seen,
        "first": counted.first_threads,
        "own": counted.own_threads,
        "excluded": counted.excluded_threads,
        "remote": counted.reported,
        "waiting": counted.table_size,
        "evicted": counted.evictions,
        "lost records": counted.dropped,
        "lost allocations": counted.allocation_failures,
    }


def etw_side(
    rule: RemoteThreadRule,
    records: Sequence[RemoteThread],
    events_lost: int = 0,
    buffers_lost: int = 0,
    detections: Sequence[Detection] | None = None,
) -> Side:
    """Return the reports and counts of *rule*."""
    counts = rule.counts
    statistics = {
        "threads": counts.seen,
        "first": counts.first,
        "own": counts.own,
        "excluded": counts.excluded,
        "remote": counts.remote,
        "unknown": counts.unknown,
        "waiting": len(rule.table),
        "evicted": rule.table.evictions,
        "lost events": events_lost,
        "lost buffers": buffers_lost,
    }
    return Side(records, statistics, detections)
