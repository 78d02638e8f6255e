"""Compares saved outputs: JSON lines of `scan` or `monitor`, of `driver watch`, and what Sysmon reported."""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from etwdetect.comparison.pairing import Equality, compare
from etwdetect.comparison.result import Result, Side, differences
from etwdetect.comparison.witnesses import NAMES, WITNESSES, compare_witnesses, has, lines
from etwdetect.core.errors import EtwDetectError
from etwdetect.core.files import open_file
from etwdetect.results.record import from_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from etwdetect.comparison.sysmon_rules import SysmonRules
    from etwdetect.core.rule import RemoteThread
    from etwdetect.enrich.detection import Detection, Detector

NAME: Final = "recorded"
"""The name of the bench in the results."""


def compare_outputs(etw: Path, driver: Path) -> Result:
    """Compare the saved output *etw* of the ETW detector with the saved output *driver* of the driver.

    Times come from two clocks, so Equality.LIVE applies. Raises EtwDetectError if a file cannot be read, has a
    line that is not a record, or is from the other detector.
    """
    began = time.perf_counter()
    etw_records, driver_records = read(etw, "etw"), read(driver, "driver")
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


class Output(NamedTuple):
    """What one witness reported; *detector* is None where it reported nothing."""

    name: str
    detector: Detector | None
    detections: Sequence[Detection]


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
        witnesses=found,
    )


def _free(records: Mapping[Detector, object]) -> Detector:
    """Return the first witness without *records*: it is the one that reported nothing."""
    return next(each for each in WITNESSES if each not in records)


def read_output(path: Path) -> Output:
    """Return the saved output at *path*. Raises EtwDetectError unless one witness wrote all of it."""
    detections = list(_detections(path, None))
    return Output(path.name, detections[0].detector if detections else None, detections)


def read(path: Path, detector: Detector) -> list[RemoteThread]:
    """Return the records in the file at *path*. Raises EtwDetectError unless *detector* wrote it."""
    return [detection.thread for detection in _detections(path, detector)]


def _detections(path: Path, detector: Detector | None) -> Iterator[Detection]:
    try:
        with io.TextIOWrapper(io.BufferedReader(open_file(path)), encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                try:
                    detection = from_json(line)
                except ValueError as error:
                    raise EtwDetectError(f"{path}, line {number}: {error}") from error
                detector = detector or detection.detector
                if detection.detector != detector:
                    raise EtwDetectError(
                        f"{path}, line {number}: the record is from the detector {detection.detector!r}, "
                        f"expected {detector!r}"
                    )
                if detection.count > 1:
                    raise EtwDetectError(
                        f"{path}, line {number}: the record stands for {detection.count:,} remote threads; "
                        "record again without merging repeats"
                    )
                yield detection
    except (OSError, UnicodeDecodeError) as error:
        raise EtwDetectError(f"{path} cannot be read: {error}") from error
