"""A report tells which detector has which remote threads, where several have records of one machine."""

import pytest

from etwdetect.comparison import reported
from etwdetect.comparison.reported import ReportedRecords
from etwdetect.core.rule import RemoteThread
from etwdetect.enrich.detection import Detection, Process
from etwdetect.results.record import to_json

T = 132_337_152_000_000_000
MILLISECOND = 10_000


def record(detector, tid, host=None, time=T, evidence=()):
    creator_tid = None if detector == "sysmon" else 101
    thread = RemoteThread(time, 100, creator_tid, 200, tid, evidence=evidence)
    return Detection(thread, detector, Process(100), Process(200), host=host)


def told(*records):
    compared = ReportedRecords()
    for each in records:
        compared.add(each)
    return compared.lines()


def test_it_says_who_has_what_with_the_reasons():
    lines = told(
        *(record(name, 1, "PC1") for name in ("etw", "driver", "sysmon")),
        record("etw", 2, "PC1", evidence=("session-start",)),
        record("sysmon", 3, "PC1", T + 9 * MILLISECOND),
    )
    assert lines == [
        "all of ETW, the driver and Sysmon: 1",
        "only ETW: 1",
        "only Sysmon: 1",
        "Sysmon's times are 0 ms after the others' (median)",
        (
            "ETW has 100:101 -> 200:2, the driver and Sysmon not: it may be a first thread (session-start);"
            " it may be a first thread (session-start)"
        ),
        "Sysmon has 100:? -> 200:3, ETW and the driver not: no reason is known",
    ]


def test_one_detector_or_detectors_of_several_machines_are_not_compared():
    assert told(record("etw", 1), record("etw", 2)) == []
    assert told(record("etw", 1, "PC1"), record("sysmon", 1, "PC2")) == []
    assert told() == []


def test_a_trace_that_does_not_name_its_machine_is_of_the_one_that_is_named():
    assert told(record("etw", 1), record("sysmon", 1, "PC1"))[0] == "all of ETW and Sysmon: 1"
    assert told(record("etw", 1), record("sysmon", 1, "PC1"), record("sysmon", 1, "PC2")) == []


def test_of_several_machines_each_line_names_its_own():
    lines = told(*(record(name, 1, host) for name in ("etw", "sysmon") for host in ("PC1", "PC2")))
    assert [line for line in lines if "all of" in line] == [
        "PC1: all of ETW and Sysmon: 1",
        "PC2: all of ETW and Sysmon: 1",
    ]


def test_what_is_compared_and_told_is_bounded(monkeypatch):
    monkeypatch.setattr(reported, "MOST_RECORDS", 300)
    lines = told(*(record(name, tid) for tid in range(200) for name in ("etw", "sysmon")), record("etw", 9))
    assert "101 records beyond the first 300 not compared" in lines
    lines = told(record("sysmon", 999), *(record("etw", tid) for tid in range(250)))
    assert "and 151 more" in lines
    assert len(lines) < 120


@pytest.mark.parametrize("detectors", [("etw", "sysmon"), ("etw",)])
def test_the_page_has_it(etwdetect, tmp_path, detectors):
    for name in detectors:
        (tmp_path / f"{name}.json").write_text(to_json(record(name, 1)) + "\n")
    done = etwdetect("report", *(tmp_path / f"{name}.json" for name in detectors), "-o", tmp_path / "a.html")
    assert done.status == 0
    page = (tmp_path / "a.html").read_text("utf-8")
    assert ("What each detector has" in page) == ("all of ETW and Sysmon: 1" in page) == (len(detectors) > 1)
