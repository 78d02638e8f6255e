"""Formats results for other programs: JUnit XML and JSON."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree as ET

from etwdetect.comparison import report

if TYPE_CHECKING:
    from collections.abc import Sequence

    from etwdetect.comparison.result import Result
    from etwdetect.comparison.witnesses import Witnesses
    from etwdetect.core.rule import RemoteThread

SCHEMA_VERSION: Final = 1

_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""The characters that XML 1.0 cannot contain."""


def junit(results: Sequence[Result]) -> str:
    """Return *results* as JUnit XML: a test suite for each bench, a test case for each subject."""
    by_bench: defaultdict[str, list[Result]] = defaultdict(list)
    for result in results:
        by_bench[result.bench].append(result)
    root = ET.Element("testsuites")
    for bench, of_bench in by_bench.items():
        suite = ET.SubElement(root, "testsuite", _suite(bench, of_bench))
        for result in of_bench:
            _case(suite, result)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _suite(bench: str, results: Sequence[Result]) -> dict[str, str]:
    return {
        "name": f"parity.{bench}",
        "tests": str(len(results)),
        "failures": str(sum(result.status == "failed" for result in results)),
        "skipped": str(sum(result.status == "skipped" for result in results)),
        "errors": "0",
        "time": f"{sum(result.seconds for result in results):.3f}",
    }


def _case(suite: ET.Element, result: Result) -> None:
    name, seconds = _xml(result.subject), f"{result.seconds:.3f}"
    case = ET.SubElement(suite, "testcase", classname=f"parity.{result.bench}", name=name, time=seconds)
    if result.status == "failed":
        failure = ET.SubElement(case, "failure", {"message": _xml(result.complaints[0])})
        failure.text = _xml(report.full(result))
    elif result.skipped is not None:
        ET.SubElement(case, "skipped", {"message": _xml(result.skipped)})
    else:
        ET.SubElement(case, "system-out").text = _xml(report.full(result))


def _xml(text: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)


def to_json(results: Sequence[Result]) -> str:
    """Return *results* as a JSON document; times and time differences are in 100 ns units."""
    document = {"SchemaVersion": SCHEMA_VERSION, "Results": [_result(result) for result in results]}
    return json.dumps(document, indent=1) + "\n"


def _result(result: Result) -> dict[str, Any]:
    document: dict[str, Any] = {
        "Subject": result.subject,
        "Bench": result.bench,
        "Status": result.status,
        "Seconds": round(result.seconds, 3),
        "Complaints": list(result.complaints),
        "Notes": list(result.notes),
        "Statistics": {side: dict(counts) for side, counts in result.statistics.items()},
    }
    if result.skipped is not None:
        document["Skipped"] = result.skipped
    if result.witnesses is not None:
        document["Witnesses"] = _witnesses(result.witnesses)
    found = result.comparison
    if found is not None:
        document |= {
            "Equality": found.equality.value,
            "Matched": len(found.matched),
            "OnlyEtw": [_record(record) for record in found.only_etw],
            "OnlyDriver": [_record(record) for record in found.only_driver],
            "OutOfOrder": [_record(pair.etw) for pair in found.out_of_order],
            "Expected": [_record(record) for record in found.explained],
            "TimeDifferenceMedian": found.median_time_difference,
            "TimeDifferenceMax": found.largest_time_difference,
        }
    return document


def _witnesses(found: Witnesses) -> dict[str, Any]:
    reasons = found.reasons
    return {
        "Present": list(found.present),
        "Counts": {" ".join(seen_by): count for seen_by, count in found.counts().items()},
        "OffsetMedian": found.offset,
        "FarOff": [_record(each.first.thread) for each in found.far_off],
        "Differences": [
            {"SeenBy": list(each.seen_by), **_record(each.first.thread), "Reason": reasons.get(number)}
            for number, each in enumerate(found.sightings)
            if each.seen_by != found.present
        ],
    }


def _record(record: RemoteThread) -> dict[str, Any]:
    """Return *record* with the field names of `scan --format json`."""
    return {
        "Time": str(record.time),
        "SourceProcessId": record.creator_pid,
        "SourceThreadId": record.creator_tid,
        "TargetProcessId": record.pid,
        "NewThreadId": record.tid,
    }
