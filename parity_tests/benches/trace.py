"""The trace bench: scans a recording and plays the same creations and exits to the driver in the same order.

It tests the rule on real histories. Both sides share decoding and ordering, so those are not tested.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from etwdetect.comparison.pairing import compare, explain
from etwdetect.comparison.result import Result, differences
from etwdetect.core.events import UNKNOWN_ID
from parity_tests.benches import TRACE
from parity_tests.benches.sides import driver_side, etw_side
from parity_tests.timeline import kernel_events

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etwdetect.core.events import Event
    from etwdetect.core.rule import RemoteThread
    from etwdetect.enrich.detection import Detector
    from etwdetect.offline import Scan
    from etwdetect.offline.result import ScanResult


def replay(scan: Scan) -> Result:
    """Compare the two detectors on the trace of *scan*, which must not have been read yet.

    If ETW does not know the creator, the driver gets the creator id 0xFFFFFFFF, so that both tables change alike.
    Records with that creator are expected: only the driver can report them.
    """
    began = time.perf_counter()
    records: list[RemoteThread] = []

    def observed() -> Iterator[Event]:
        for event in scan.events():
            hit = scan.rule.observe(event)
            if hit is not None:
                records.append(hit)
            yield event

    driver = driver_side(kernel_events(observed()), scan.rule.table.bound)
    result = scan.result()
    etw = etw_side(scan.rule, records, result.events_lost, result.buffers_lost)
    comparison = explain(compare(records, driver.records), _has_unknown_creator)
    return Result(
        scan.traces[0].name,
        TRACE,
        time.perf_counter() - began,
        comparison,
        tuple(differences(comparison, etw, driver, same_events=True)),
        tuple(_notes(result)),
        {"etw": etw.statistics, "driver": driver.statistics},
        incomplete=result.damages > 0,
    )


def _has_unknown_creator(record: RemoteThread, side: Detector) -> bool:
    return side == "driver" and record.creator_pid == UNKNOWN_ID


def _notes(result: ScanResult) -> list[str]:
    notes = [] if result.thread_starts.seen else ["the trace has no thread start, so nothing was compared"]
    if result.damages:
        notes.append(f"{result.damages:,} places in the trace could not be read; both sides lack the events there")
    if result.events_lost or result.buffers_lost:
        lost = f"{result.events_lost:,} events and {result.buffers_lost:,} buffers"
        notes.append(f"{lost} were lost during recording; both sides lack them")
    return notes
