"""Compares saved outputs: JSON lines of `scan` or `monitor`, of `driver watch`, and what Sysmon reported."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, NamedTuple

from etwdetect.comparison.pairing import Equality, compare
from etwdetect.comparison.result import Result, Side, differences
from etwdetect.comparison.witnesses import NAMES, WITNESSES, compare_witnesses, has, lines
from etwdetect.core.errors import EtwDetectError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from etwdetect.comparison.sysmon_rules import SysmonRules
    from etwdetect.enrich.detection import Detection, Detector
    from etwdetect.results.saved import SavedResults

NAME: Final = "recorded"
"""The name of the bench in the results."""


class Output(NamedTuple):
    """What one witness reported; *detector* is None where it reported nothing.

    *incomplete*: not all of its recording could be read.
    """

    name: str
    detector: Detector | None
    detections: Sequence[Detection]
    incomplete: bool = False


def compare_outputs(etw: Output, driver: Output) -> Result:
    """Compare the saved output *etw* of the ETW detector with the saved output *driver* of the driver.

    Times come from two clocks, so Equality.LIVE applies. Raises EtwDetectError if one is from the other detector.
    """
    began = time.perf_counter()
    _check_witness(etw, "etw")
    _check_witness(driver, "driver")
    etw_records, driver_records = ([each.thread for each in output.detections] for output in (etw, driver))
    sides = [Side(records, {"remote": len(records)}) for records in (etw_records, driver_records)]
    comparison = compare(etw_records, driver_records, Equality.LIVE)
    return Result(
        f"{etw.name}, {driver.name}",
        NAME,
        time.perf_counter() - began,
        comparison,
        tuple(differences(comparison, *sides)),
        () if etw_records or driver_records else ("neither file has a record, so nothing was compared",),
        statistics={"etw": sides[0].statistics, "driver": sides[1].statistics},
    )


def _check_witness(output: Output, expected: Detector) -> None:
    if output.detector not in {expected, None}:
        raise EtwDetectError(
            f"{output.name}: has records of the detector {output.detector!r}, expected {expected!r}: the output "
            "of ETW is named first, that of the driver second"
        )


def compare_witness_outputs(outputs: Sequence[Output], rules: SysmonRules | None = None) -> Result:
    """Compare the *outputs* of two or three witnesses, with *rules* of Sysmon's configuration, where known.

    Raises EtwDetectError if two are of the same witness.
    """
    began = time.perf_counter()
    records: dict[Detector, Sequence[Detection]] = {}
    for output in sorted(outputs, key=lambda output: output.detector is None):
        name = output.detector or _free(records)
        if name in records:
            raise EtwDetectError(f"{output.name}: there is another output of {NAMES[name]}")
        records[name] = output.detections
    found = compare_witnesses(records, rules)
    return Result(
        ", ".join(output.name for output in outputs),
        NAME,
        time.perf_counter() - began,
        complaints=tuple(has(each, found.present) for each in found.unexplained),
        notes=tuple(lines(found)),
        statistics={name: {"remote": len(records[name])} for name in found.present},
        incomplete=any(output.incomplete for output in outputs),
        witnesses=found,
    )


def _free(records: Mapping[Detector, object]) -> Detector:
    """Return the first witness without *records*: it is the one that reported nothing."""
    return next(each for each in WITNESSES if each not in records)


def read_output(saved: SavedResults, name: str) -> Output:
    """Return what is in *saved*, called *name*. Raises EtwDetectError unless one witness wrote all of it."""
    detections: list[Detection] = []
    for detection in saved.detections():
        if saved.faults:
            break
        detections.append(detection)
        if detection.detector != detections[0].detector:
            raise EtwDetectError(
                f"{saved.name}: record {saved.records:,} is from the detector {detection.detector!r}, "
                f"those before it from {detections[0].detector!r}"
            )
        if detection.count > 1:
            raise EtwDetectError(
                f"{saved.name}: record {saved.records:,} stands for {detection.count:,} remote threads; "
                "record again without merging repeats"
            )
    for fault in saved.warnings():
        raise EtwDetectError(fault)
    return Output(name, detections[0].detector if detections else None, detections)
