"""Compares saved outputs: JSON lines of `scan` or `monitor`, and of `driver watch`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from etwdetect.comparison.pairing import Equality, compare
from etwdetect.comparison.result import Result, Side, differences
from etwdetect.core.errors import EtwDetectError
from etwdetect.results.record import from_json

if TYPE_CHECKING:
    from pathlib import Path

    from etwdetect.core.rule import RemoteThread
    from etwdetect.enrich.detection import Detector

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


def read(path: Path, detector: Detector) -> list[RemoteThread]:
    """Return the records in the file at *path*. Raises EtwDetectError unless *detector* wrote it."""
    records = []
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                try:
                    detection = from_json(line)
                except ValueError as error:
                    raise EtwDetectError(f"{path}, line {number}: {error}") from error
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
                records.append(detection.thread)
    except (OSError, UnicodeDecodeError) as error:
        raise EtwDetectError(f"{path} cannot be read: {error}") from error
    return records
