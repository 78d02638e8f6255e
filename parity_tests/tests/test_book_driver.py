"""What the scenarios say by hand of the published driver, against a model of it."""

import pytest

from etwdetect.core.rule import RemoteThread
from parity_tests.evaluation import expected_records
from parity_tests.tests import book_driver
from parity_tests.timeline import expand
from tests.shipped_scenarios import SCENARIOS


def match(reported, expected, ids):
    records = expected_records(expected, "driver", ids)
    return len(reported) == len(records) and all(
        each.matches(RemoteThread(0, *record)) for each, record in zip(records, reported, strict=True)
    )


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_the_published_driver_would_report_what_the_scenario_says(scenario):
    timeline = expand(scenario)
    reported = book_driver.reports(timeline.kernel_events())
    if scenario.book_driver is None:
        assert match(reported, scenario.expect, timeline.processes), (
            "it would report something else; say so in book_driver"
        )
    else:
        assert match(reported, scenario.book_driver.reports, timeline.processes), reported
        assert not match(reported, scenario.expect, timeline.processes), "it would report the same: no book_driver"


def test_each_known_fault_of_the_published_driver_has_a_scenario():
    assert {scenario.name for scenario in SCENARIOS if scenario.book_driver} >= {
        "the-33rd-waiting-process",
        "first-thread-by-system",
        "ends-before-anything-happens",
        "own-thread-before-the-first",
    }


def test_the_published_driver_finds_idle_in_an_empty_place_and_counts_its_list_below_zero():
    scenario = next(each for each in SCENARIOS if each.name == "threads-by-system-and-in-system")
    waiting = book_driver.PublishedList()
    assert len(book_driver.reports(expand(scenario).kernel_events(), waiting)) == 1
    assert waiting.count == -1
    assert waiting.places == [book_driver.EMPTY] * book_driver.PLACES
