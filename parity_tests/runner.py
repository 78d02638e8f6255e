"""Runs scenarios on benches and recordings on the trace bench, and yields one result for each."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from etwdetect.comparison.result import Result
from etwdetect.core.errors import EtwDetectError
from parity_tests.benches import TRACE
from parity_tests.benches.trace import replay
from parity_tests.evaluation import evaluate
from parity_tests.simulators.simkernel import StatusError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from etwdetect.offline import Scan
    from parity_tests.benches import Bench
    from parity_tests.evaluation import Observation
    from parity_tests.evidence import Evidence
    from parity_tests.scenario import Scenario


def run(scenarios: Iterable[Scenario], bench: Bench, evidence: Evidence | None = None) -> Iterator[Result]:
    """Yield the result of each of *scenarios*. Raises BenchUnavailableError if the bench cannot run here.

    Each is added to *evidence*.
    """
    if evidence is not None:
        bench.recordings = evidence.recordings
    with bench:
        for scenario in scenarios:
            result, observation = perform(bench, scenario)
            if evidence is not None:
                evidence.add(scenario, result, observation)
            yield result


def replay_all(scans: Iterable[Scan]) -> Iterator[Result]:
    """Yield the trace bench's result for each of *scans*."""
    for scan in scans:
        try:
            yield replay(scan)
        except (EtwDetectError, StatusError, OSError) as error:
            yield Result(scan.traces[0].name, TRACE, complaints=(f"could not be replayed: {error}",))


def perform(bench: Bench, scenario: Scenario) -> tuple[Result, Observation | None]:
    """Return the result of *scenario* on *bench*, which must have been entered, and what it is judged by."""
    reason = bench.cannot(scenario)
    if reason is not None:
        return Result(scenario.name, bench.name, skipped=reason), None
    began = time.perf_counter()
    try:
        observation = bench.perform(scenario)
    except (EtwDetectError, StatusError, OSError) as error:
        seconds = time.perf_counter() - began
        return Result(scenario.name, bench.name, seconds, complaints=(f"could not be performed: {error}",)), None
    return evaluate(scenario, bench.name, observation, time.perf_counter() - began), observation
