"""Results as text, JUnit's XML and JSON."""

import json
from xml.etree import ElementTree as ET

from etwdetect.comparison import report, result_files
from etwdetect.comparison.pairing import Equality, compare, explain
from etwdetect.comparison.result import Result
from etwdetect.core.rule import RemoteThread

ONE = RemoteThread(1_000_000, 100, 101, 200, 301)
TWO = RemoteThread(2_000_000, 100, 101, 200, 302)
STATISTICS = {"etw": {"threads": 1200, "remote": 1, "lost events": 0}, "driver": {"threads": 1200, "remote": 2}}
PASSED = Result("good", "model", 0.25, compare([ONE], [ONE]), statistics=STATISTICS)
FAILED = Result(
    "bad", "file", 0.5, compare([ONE], [ONE._replace(time=ONE.time + 20_000), TWO]), ("one", "two"), ("a note",)
)
SKIPPED = Result("left out", "wine", skipped="no such step there")
EXPECTED = Result("half", "model", 0, explain(compare([], [ONE]), lambda _record, _side: True))
HOSTILE = Result("evil\x1b[2J\0\ud800", "trace", complaints=("bad\x07 & <tag>",))


def test_a_row_has_what_matched_what_did_not_and_how_far_times_are_apart():
    assert report.row(PASSED).split() == ["passed", "model", "1", "0", "0", "same", "0", "ns", "(0", "ns)", "good"]
    assert report.row(FAILED).split()[:9] == ["failed", "file", "1", "0", "1", "same", "2", "ms", "(2"]
    assert report.row(SKIPPED).split() == ["skipped", "wine", "left", "out"]
    assert "(+1)" in report.row(EXPECTED)


def test_columns_stand_below_each_other():
    rows = [report.heading(), report.row(PASSED), report.row(FAILED)]
    assert len({row.index(name) for row, name in zip(rows, ("subject", "good", "bad"), strict=True)}) == 1


def test_details_say_what_is_wrong_and_what_was_counted():
    assert list(report.details(FAILED)) == ["bad on the file bench: failed", "  one", "  two", "  note: a note"]
    assert "  ETW     threads 1,200, remote 1" in list(report.details(PASSED))
    assert list(report.details(SKIPPED)) == ["left out on the wine bench: skipped, no such step there"]


def test_many_complaints_are_counted():
    many = Result("bad", "model", complaints=tuple(map(str, range(50))))
    lines = list(report.details(many))
    assert lines[-1] == "  and 30 more"
    assert len(lines) == 22


def test_the_closing_lines_add_up_both_sides():
    lines = list(report.closing([PASSED, PASSED, FAILED, SKIPPED]))
    assert lines == [
        "2 passed, 1 failed, 1 skipped in 1.0 s",
        "  ETW     threads 2,400, remote 2",
        "  driver  threads 2,400, remote 4",
    ]


def test_junit_has_a_suite_for_each_bench_and_a_case_for_each_subject():
    root = ET.fromstring(result_files.junit([PASSED, FAILED, SKIPPED]))
    suites = {suite.get("name"): suite for suite in root}
    assert set(suites) == {"parity.model", "parity.file", "parity.wine"}
    assert [suites["parity.file"].get(name) for name in ("tests", "failures", "skipped")] == ["1", "1", "0"]
    (failure,) = root.iter("failure")
    assert failure.get("message") == "one"
    assert report.full(FAILED) in failure.text
    (skipped,) = root.iter("skipped")
    assert skipped.get("message") == "no such step there"


def test_text_from_a_trace_breaks_neither_the_terminal_nor_the_files():
    assert "\x1b" not in report.full(HOSTILE)
    (case,) = ET.fromstring(result_files.junit([HOSTILE])).iter("testcase")
    assert "\0" not in case.get("name")
    result_files.junit([HOSTILE]).encode()
    json.loads(result_files.to_json([HOSTILE]).encode())


def test_json_has_each_result_with_the_records_of_one_side_alone():
    passed, failed, skipped, expected = json.loads(result_files.to_json([PASSED, FAILED, SKIPPED, EXPECTED]))[
        "Results"
    ]
    assert (passed["Status"], passed["Matched"], passed["Equality"]) == ("passed", 1, Equality.EXACT.value)
    assert passed["Statistics"]["driver"] == {"threads": 1200, "remote": 2}
    assert failed["OnlyDriver"] == [
        {
            "Time": "2000000",
            "SourceProcessId": 100,
            "SourceThreadId": 101,
            "TargetProcessId": 200,
            "NewThreadId": 302,
        }
    ]
    assert failed["Complaints"] == ["one", "two"]
    assert failed["TimeDifferenceMax"] == 20_000
    assert skipped["Skipped"] == "no such step there"
    assert len(expected["Expected"]) == 1
