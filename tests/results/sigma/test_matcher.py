"""Detections on their way through the rules."""

import itertools
import sqlite3
from dataclasses import replace

import pytest

from etwdetect.core.rule import RemoteThread
from etwdetect.enrich.detection import Detection, Process
from etwdetect.results import record
from etwdetect.results.sigma.matcher import SigmaMatcher
from tests.results.sigma.conftest import titles


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
    assert [replace(each, sigma=(), sigma_rules=()) for each in out] == given
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


@pytest.mark.parametrize(
    ("level", "before", "after"),
    [
        ("high", "low", "high"),
        ("high", None, "high"),
        ("critical", "high", "critical"),
        ("low", "medium", "medium"),
        (None, "low", "low"),
        (None, None, None),
    ],
)
def test_a_level_raises_a_severity_that_is_lower(load, level, before, after):
    rules = load({"TargetProcessId": 4}, **({"level": level} if level else {}))
    for raises, expected in ((True, after), (False, before)):
        matcher = SigmaMatcher(rules, batch=1, raises=raises)
        (judged,) = matcher.add(detection(4, severity=before))
        assert judged.severity == expected
    (other,) = matcher.add(detection(5, severity=before))
    assert other.severity == before


def test_the_techniques_of_a_rule_join_those_of_the_kind(load):
    matcher = SigmaMatcher(load({"TargetProcessId": 4}, tags=["attack.t1003.001", "attack.t1055"]), batch=1)
    (judged,) = matcher.add(detection(4, techniques=("T1055",)))
    assert judged.techniques == ("T1055", "T1003.001")
    again = record.from_json(record.to_json(judged))
    assert (again.sigma, again.sigma_rules, again.techniques) == (
        judged.sigma,
        judged.sigma_rules,
        judged.techniques,
    )
    assert list(matcher.add(again)) == [judged]


def test_a_path_that_is_not_whole_is_told_once_a_rule(load):
    matcher = SigmaMatcher(load({"SourceImage": "C:\\a.exe"}))
    bare = replace(detection(4), source=Process(1, "a.exe"))
    assert [str(risk).partition(") ")[2] for risk in matcher.path_risks(bare)] == [
        "can't fire where SourceImage has no path"
    ]
    assert list(matcher.path_risks(bare)) == []


def test_each_risk_is_told_once(load):
    matcher = SigmaMatcher(load({"StartModule": "a"}))
    assert [risk.fields for risk in matcher.risks({"StartModule"})] == [("StartModule",)]
    assert list(matcher.risks({"StartModule"})) == []


def test_rules_that_nobody_uses_any_more_leave_no_database_open(load):
    """Python 3.13 warns of one that is forgotten; here it is seen on each Python."""
    rules = load({"SourceImage": "a"})
    connection = rules._table._connection
    assert titles(rules, [{"SourceImage": "a"}]) == [("A rule",)]
    del rules
    with pytest.raises(sqlite3.ProgrammingError, match="closed database"):
        connection.execute("SELECT 1")
