"""Detections on their way through the rules."""

import itertools
import sqlite3
from dataclasses import replace

import pytest

from etwdetect.core.rule import RemoteThread
from etwdetect.enrich.detection import Detection, Process
from etwdetect.results import record
from etwdetect.results.sigma.matcher import SigmaMatcher


def detection(number, **more):
    thread = RemoteThread(132_337_152_000_000_000 + number, 1, 2, number, 4)
    return Detection(thread, "etw", Process(1, r"C:\evil.exe"), Process(number, r"C:\lsass.exe"), **more)


@pytest.fixture
def matcher(load):
    return SigmaMatcher(load({"TargetProcessId": [4, 8], "SourceImage|endswith": r"\EVIL.exe"}), batch=3)


def test_they_are_judged_a_batch_at_a_time_and_come_back_in_order(matcher):
    given = [detection(number) for number in range(1, 9)]
    ready = [list(matcher.add(each)) for each in given]
    assert [len(each) for each in ready] == [0, 0, 3, 0, 0, 3, 0, 0]
    out = [*itertools.chain(*ready), *matcher.release(None)]
    assert [replace(each, sigma=()) for each in out] == given
    assert [each.thread.pid for each in out if each.sigma == ("A rule",)] == [4, 8]
    assert list(matcher.release(None)) == []


def test_what_waits_is_judged_when_time_passes(matcher):
    assert list(matcher.add(detection(4))) == []
    assert [each.sigma for each in matcher.release(132_337_152_000_000_000)] == [("A rule",)]


def test_somebody_who_waits_gets_each_at_once(matcher):
    matcher.batch = 1
    assert [each.sigma for each in matcher.add(detection(4))] == [("A rule",)]


def test_titles_of_a_saved_result_stay(matcher):
    matcher.batch = 1
    saved = record.from_json(record.to_json(detection(4, sigma=("An older rule", "A rule"))))
    (judged,) = matcher.add(saved)
    assert judged.sigma == ("An older rule", "A rule")
    (judged,) = matcher.add(detection(5, sigma=("An older rule",)))
    assert judged.sigma == ("An older rule",)


def test_each_risk_is_told_once(load):
    matcher = SigmaMatcher(load({"StartModule": "a"}))
    assert [risk.fields for risk in matcher.risks({"StartModule"})] == [("StartModule",)]
    assert list(matcher.risks({"StartModule"})) == []


def test_rules_that_nobody_uses_any_more_leave_no_database_open(load):
    """Python 3.13 warns of one that is forgotten; here it is seen on each Python."""
    rules = load({"SourceImage": "a"})
    connection = rules._table._connection
    assert rules.fired([{"SourceImage": "a"}]) == [("A rule",)]
    del rules
    with pytest.raises(sqlite3.ProgrammingError, match="closed database"):
        connection.execute("SELECT 1")
