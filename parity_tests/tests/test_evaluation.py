"""What is said of an observation: equal or not, as expected or not."""

from dataclasses import replace

import pytest

from etwdetect.comparison.pairing import Equality
from etwdetect.comparison.result import Side
from etwdetect.core.rule import RemoteThread
from etwdetect.enrich.detection import Calls, Detection, Process
from parity_tests import loading
from parity_tests.evaluation import Observation, evaluate
from parity_tests.timeline import expand

TEXT = """
title = "A title"
why = "A reason"
steps = [
  { attach_debugger = "notepad", by = "windbg", tid = 301, named = "one" },
  { break_in = "notepad", by = "windbg", tid = 302, named = "two" },
  { create_remote_thread = "notepad", by = "windbg", at = "nowhere", tid = 303, named = "three" },
]
expect = [
  { thread_in = "notepad/one", made_by = "windbg", kind = "debugger break-in", stack = { CallNested = "yes" } },
  { thread_in = "notepad/two", made_by = "windbg", evidence = ["events-lost:1"] },
  { thread_in = "notepad/three", made_by = "windbg", only = "driver" },
]
[processes]
windbg = { running = true, pid = 100, threads = { main = 101 } }
notepad = { running = true, pid = 200, threads = { main = 201 } }
"""
SCENARIO = loading.parse(TEXT, "timeline")
IDS = expand(SCENARIO).processes
ONE = RemoteThread(1_000_000, 100, 101, 200, 301, 0x7FF0)
TWO = RemoteThread(2_000_000, 100, 101, 200, 302, 0x7FF0, ("events-lost:1",))
THREE = RemoteThread(3_000_000, 100, 101, 200, 303)
OTHER = RemoteThread(4_000_000, 500, 501, 600, 601)
COUNTS = {"threads": 3, "first": 0, "own": 0, "excluded": 0, "waiting": 0, "evicted": 0}
ETW = COUNTS | {"remote": 2, "unknown": 1}
DRIVER = COUNTS | {"remote": 3}
STACK = Calls(kernel="a.sys+53|a.sys+1|a.sys+53")
KNOWN = [
    Detection(ONE, "etw", Process(100), Process(200), kind="debugger break-in", severity="low", calls=STACK),
    Detection(TWO, "etw", Process(100), Process(200)),
]


def bare(record):
    return record._replace(start_address=None, evidence=())


def complaints(etw, driver, equality=Equality.EXACT, *, of_etw=ETW, of_driver=DRIVER, known=None):
    """Evaluate records of both sides; the driver's have neither address nor evidence."""
    sides = Side(etw, of_etw, known), Side([bare(record) for record in driver], of_driver)
    return evaluate(SCENARIO, "model", Observation(*sides, equality, IDS)).complaints


both = pytest.mark.parametrize("equality", Equality)


@both
def test_what_is_equal_and_expected_passes(equality):
    assert complaints([ONE, TWO], [ONE, TWO, THREE], equality, known=KNOWN) == ()


@both
def test_an_expected_difference_is_shown_and_no_complaint(equality):
    sides = Side([ONE, TWO], ETW), Side([bare(record) for record in (ONE, TWO, THREE)], DRIVER)
    result = evaluate(SCENARIO, "model", Observation(*sides, equality, IDS))
    assert result.status == "passed"
    assert result.comparison.explained == (bare(THREE),)


@both
def test_an_expected_difference_that_is_not_there_is_a_complaint(equality):
    assert any("the driver" in each for each in complaints([ONE, TWO], [ONE, TWO], equality))


@both
def test_what_is_missing_on_both_sides_is_a_complaint_for_each(equality):
    found = " ".join(complaints([ONE], [ONE, THREE], equality))
    assert "ETW" in found
    assert "the driver" in found
    assert "only" not in found


def test_what_is_too_many_on_both_sides_is_a_complaint_where_all_is_known():
    found = complaints([ONE, TWO, OTHER], [ONE, TWO, THREE, OTHER])
    assert "ETW reports 3 remote threads, expected 2" in found
    assert "the driver reports 4 remote threads, expected 3" in found


def test_what_is_too_many_on_both_sides_is_background_on_a_live_machine():
    assert complaints([ONE, TWO, OTHER], [ONE, TWO, THREE, OTHER], Equality.LIVE) == ()


def test_what_one_side_alone_has_is_a_complaint_on_a_live_machine_too():
    found = complaints([ONE, TWO, OTHER], [ONE, TWO, THREE], Equality.LIVE)
    assert found == ("only ETW has 500:501 -> 600:601",)


def test_another_record_than_the_expected_one_is_named_with_its_place():
    found = complaints([ONE, OTHER], [ONE, OTHER, THREE])
    assert any(each.startswith("record 2 of ETW is 500:501 -> 600:601, expected a thread") for each in found)


def test_other_evidence_is_a_complaint():
    (found,) = complaints([ONE, TWO._replace(evidence=())], [ONE, TWO, THREE])
    assert found == "evidence of 100:101 -> 200:302 is none, expected events-lost:1"


def test_evidence_that_is_not_expected_is_a_complaint():
    (found,) = complaints([ONE._replace(evidence=("session-start",)), TWO], [ONE, TWO, THREE])
    assert "is session-start, expected none" in found


def test_another_kind_or_another_stack_is_a_complaint_where_they_are_known():
    other = [replace(KNOWN[0], kind="library load"), KNOWN[1]]
    (found,) = complaints([ONE, TWO], [ONE, TWO, THREE], known=other)
    assert found == "kind of 100:101 -> 200:301 is library load, expected debugger break-in"
    (found,) = complaints([ONE, TWO], [ONE, TWO, THREE], known=[replace(KNOWN[0], kind=None), KNOWN[1]])
    assert found == "kind of 100:101 -> 200:301 is not known, expected debugger break-in"
    (found,) = complaints([ONE, TWO], [ONE, TWO, THREE], known=[replace(KNOWN[0], calls=Calls()), KNOWN[1]])
    assert found == "CallNested of 100:101 -> 200:301 is not known, expected yes"


@pytest.mark.parametrize("name", ["threads", "waiting", "evicted"])
def test_other_counts_are_a_complaint(name):
    (found,) = complaints([ONE, TWO], [ONE, TWO, THREE], of_driver=DRIVER | {name: 9})
    assert found == f"{name}: {ETW[name]} for ETW, 9 for the driver"


def test_verdicts_that_the_unknown_creators_do_not_explain_are_a_complaint():
    assert complaints([ONE, TWO], [ONE, TWO, THREE], of_driver=DRIVER | {"own": 1})
    assert complaints([ONE, TWO], [ONE, TWO, THREE], of_etw=ETW | {"unknown": 2})
    assert complaints([ONE, TWO], [ONE, TWO, THREE], of_etw=ETW | {"unknown": 0})


def test_counts_are_not_compared_where_something_was_lost():
    lost = {"lost events": 1}
    assert complaints([ONE, TWO], [ONE, TWO, THREE], of_etw=ETW | lost, of_driver=DRIVER | {"waiting": 9}) == ()


def test_each_difference_is_a_sentence():
    found = complaints([TWO, ONE], [ONE, TWO._replace(time=TWO.time + 3), THREE])
    assert "in another place: 100:101 -> 200:302" in found or "in another place: 100:101 -> 200:301" in found
    assert "at another time: 100:101 -> 200:302, 300 ns later in the driver" in found


def test_on_real_machines_what_both_report_besides_is_a_note():
    more = [OTHER, OTHER._replace(tid=602), OTHER._replace(pid=700)]
    etw = Side([ONE, TWO, *more], ETW, KNOWN)
    driver = Side([bare(each) for each in (ONE, TWO, THREE, *more)], DRIVER)
    result = evaluate(SCENARIO, "vm", Observation(etw, driver, Equality.LIVE, IDS, ("the session was lost",)))
    assert result.complaints == ()
    assert result.notes == (
        "the session was lost",
        "background that both report: 500 -> 600 (2 times), 500 -> 700",
    )


def test_without_a_real_machine_there_is_no_background():
    etw = Side([ONE, TWO, OTHER], ETW, KNOWN)
    driver = Side([bare(each) for each in (ONE, TWO, THREE, OTHER)], DRIVER)
    assert evaluate(SCENARIO, "file", Observation(etw, driver, Equality.EXACT, IDS)).notes == ()
