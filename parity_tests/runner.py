"""Runs scenarios on benches, and recordings on the trace bench; one result after the other."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from etwdetect.comparison.result import Result
from etwdetect.core.errors import EtwDetectError
from parity_tests.benches import TRACE, open_bench
from parity_tests.benches.trace import replay
from parity_tests.simulators.simkernel import StatusError
from parity_tests.verdict import judge

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from etwdetect.offline import Scan
    from parity_tests.benches import Bench
    from parity_tests.scenario import Scenario


def run(scenarios: Iterable[Scenario], bench_name: str, *, anywhere: bool = False) -> Iterator[Result]:
    """Yield how each of *scenarios* did; BenchUnavailableError where this machine has no such bench.

    *anywhere*: see `Bench.anywhere`.
    """
    with open_bench(bench_name, anywhere=anywhere) as bench:
        for scenario in scenarios:
            yield perform(bench, scenario)


def replay_all(scans: Iterable[Scan]) -> Iterator[Result]:
    """Yield how the two detectors agree on each of *scans*, on the trace bench."""
    for scan in scans:
        try:
            yield replay(scan)
        except (EtwDetectError, StatusError, OSError) as error:
            yield Result(scan.traces[0].name, TRACE, complaints=(f"could not be replayed: {error}",))


def perform(bench: Bench, scenario: Scenario) -> Result:
    """Return how *scenario* did on *bench*, which has been entered."""
    reason = bench.cannot(scenario)
    if reason is not None:
        return Result(scenario.name, bench.name, skipped=reason)
    began = time.perf_counter()
    try:
        observation = bench.perform(scenario)
    except (EtwDetectError, StatusError, OSError) as error:
        seconds = time.perf_counter() - began
        return Result(scenario.name, bench.name, seconds, complaints=(f"could not be performed: {error}",))
    return judge(scenario, bench.name, observation, time.perf_counter() - began)
