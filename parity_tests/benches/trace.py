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
    etw = etw_side(scan.rule, records, scan.events_lost, scan.buffers_lost)
    comparison = explain(compare(records, driver.records), _has_unknown_creator)
    return Result(
        scan.traces[0].name,
        TRACE,
        time.perf_counter() - began,
        comparison,
        tuple(differences(comparison, etw, driver, same_events=True)),
        tuple(_notes(scan)),
        {"etw": etw.statistics, "driver": driver.statistics},
        incomplete=scan.damages > 0,
    )


def _has_unknown_creator(record: RemoteThread, side: Detector) -> bool:
    return side == "driver" and record.creator_pid == UNKNOWN_ID


def _notes(scan: Scan) -> list[str]:
    notes = [] if scan.rule.counts.seen else ["the trace has no thread start, so nothing was compared"]
    if scan.damages:
        notes.append(f"{scan.damages:,} places in the trace could not be read; both sides lack the events there")
    if scan.events_lost or scan.buffers_lost:
        lost = f"{scan.events_lost:,} events and {scan.buffers_lost:,} buffers"
        notes.append(f"{lost} were lost during recording; both sides lack them")
    return notes
