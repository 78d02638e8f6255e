"""Which program a process id stood for at a time."""

import pickle

import pytest

from etwdetect.enrich.names import ProcessNames
from etwdetect.events import ProcessRundown, ProcessStart, ProcessStop, ThreadStart

MILLISECOND = 10_000


def started(time, pid, image):
    return ProcessStart(time, 1, 2, pid, image=image)


def listed(time, pid, image):
    return ProcessRundown(time, pid, image=image)


@pytest.fixture
def names():
    return ProcessNames()


def after(names, *events):
    for event in events:
        names.observe(event)
    return names


def test_a_process_is_called_what_it_was_started_from(names):
    assert after(names, started(5, 20, "a.exe")).image(20) == "a.exe"


def test_a_process_that_was_never_heard_of_has_no_name(names):
    assert after(names, started(5, 20, "a.exe"), ThreadStart(6, 20, 1, 30, 1)).image(30) is None


def test_an_exit_ends_the_name(names):
    assert after(names, started(5, 20, "a.exe"), ProcessStop(6, 20)).image(20) is None


def test_a_process_id_used_again_has_the_new_name(names):
    events = started(5, 20, "a.exe"), ProcessStop(6, 20), started(7, 20, "b.exe")
    assert after(names, *events).image(20) == "b.exe"


def test_a_process_id_used_again_without_an_exit_has_the_new_name(names):
    assert after(names, started(0, 20, "a.exe"), started(11 * MILLISECOND, 20, "b.exe")).image(20) == "b.exe"


def test_a_process_id_used_again_by_a_process_without_a_name_has_none(names):
    assert after(names, started(0, 20, "a.exe"), started(11 * MILLISECOND, 20, None)).image(20) is None


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_tellings_of_one_start_the_one_with_the_path_stands(names, order):
    path = "\\Device\\HarddiskVolume2\\Windows\\a.exe"
    first, second = (path, "a.exe")[::order]
    assert after(names, started(5, 20, first), started(5 + 10 * MILLISECOND, 20, second)).image(20) == path


def test_a_start_told_twice_once_without_a_name_keeps_it(names):
    assert after(names, started(5, 20, "a.exe"), started(6, 20, None)).image(20) == "a.exe"


def test_a_listing_does_not_shorten_a_known_path(names):
    assert (
        after(names, started(0, 20, "\\Windows\\a.exe"), listed(10**9, 20, "a.exe")).image(20)
        == "\\Windows\\a.exe"
    )


def test_a_listing_names_a_process_that_was_there_before_the_trace(names):
    assert after(names, listed(5, 20, "a.exe")).image(20) == "a.exe"


# -- listings at the end of a trace, which name what was there all along


def foreseen(*events):
    names = ProcessNames()
    for event in events:
        names.foresee(event)
    return names


def test_a_listing_to_come_names_a_process_that_does_not_start_before_it():
    names = foreseen(listed(100, 20, "a.exe"))
    assert names.image(20) == "a.exe"


def test_a_listing_to_come_does_not_name_an_earlier_life_of_the_id():
    events = started(50, 20, "b.exe"), listed(100, 20, "b.exe")
    assert foreseen(*events).image(20) is None
    assert foreseen(*reversed(events)).image(20) is None


def test_a_listing_to_come_does_not_name_a_process_that_has_ended():
    names = foreseen(listed(100, 20, "a.exe"))
    assert after(names, ProcessStop(50, 20)).image(20) is None


def test_a_start_behind_the_listing_does_not_take_the_name_away():
    names = foreseen(listed(100, 20, "a.exe"), started(200, 20, "b.exe"))
    assert names.image(20) == "a.exe"
    assert after(names, started(200, 20, "b.exe")).image(20) == "b.exe"


def test_of_several_listings_to_come_the_earliest_names():
    events = listed(300, 20, "c.exe"), listed(100, 20, "a.exe"), listed(200, 20, "b.exe")
    assert foreseen(*events).image(20) == "a.exe"


def test_of_several_starts_to_come_the_earliest_counts():
    events = (
        started(300, 20, "c.exe"),
        started(50, 20, "a.exe"),
        started(200, 20, "b.exe"),
        listed(100, 20, "a.exe"),
    )
    assert foreseen(*events).image(20) is None


def test_a_listing_without_a_name_names_nothing():
    assert foreseen(listed(100, 20, None)).image(20) is None


def test_the_process_heard_of_longest_ago_is_forgotten_first():
    names = after(ProcessNames(bound=2), started(1, 20, "a"), started(2, 30, "b"), started(3, 40, "c"))
    assert [names.image(pid) for pid in (20, 30, 40)] == [None, "b", "c"]


def test_memory_is_bounded_however_many_processes_are_heard_of():
    names = ProcessNames(bound=16)
    for pid in range(10_000):
        for event in (listed(pid, pid, "a.exe"), started(pid, pid, "a.exe")):
            names.foresee(event)
            names.observe(event)
        names.observe(ProcessStop(pid, pid // 2))
    assert len(pickle.dumps(names)) < 2_000
