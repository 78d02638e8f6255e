"""What events tell of a process that no Windows would log is noticed, and nothing else is."""

import pytest

from etwdetect.core import consistency
from etwdetect.core.consistency import Consistency
from etwdetect.core.events import (
    UNKNOWN_ID,
    Contradiction,
    Loss,
    ProcessRundown,
    ProcessStart,
    ProcessStop,
    ThreadRundown,
    ThreadStart,
)

MILLISECOND = 10_000
T = 1_000 * MILLISECOND


def started(time, pid=20):
    return ProcessStart(time, 10, 11, pid)


def exited(time, pid=20):
    return ProcessStop(time, pid)


def thread(time, creator=10, pid=20):
    return ThreadStart(time, creator, 11, pid, 21)


def told(*events):
    """Return the contradictions, each with what stands before it."""
    checked = list(Consistency().checked(events))
    assert [event for event in checked if not isinstance(event, Contradiction)] == list(events)
    return [
        (event.name, event.pid, before)
        for before, event in zip([None, *checked], checked, strict=False)
        if isinstance(event, Contradiction)
    ]


@pytest.mark.parametrize(
    "sign",
    [[started(T), thread(T + 1)], [thread(T)], [thread(T, 20, 10)], [ThreadRundown(T, 20, 21)]],
    ids=["it had its first thread", "it got a thread", "it made a thread", "one of its threads is listed"],
)
def test_a_start_of_a_process_that_runs_is_one_too_many(sign):
    again = started(T + 5)
    assert told(*sign, again) == [("second-start", 20, again)]
    assert told(*sign, exited(T + 4), again) == []


@pytest.mark.parametrize(
    "before",
    [[started(T)], [ProcessRundown(T, 20)], [thread(T), Loss(T + 1, 1)]],
    ids=["it has no thread yet", "it may be what is left of a process", "its exit may be lost"],
)
def test_a_start_of_a_process_that_may_not_run_is_none_too_many(before):
    assert told(*before, started(T + 5)) == []


def test_a_second_exit_is_one_too_many_unless_the_first_is_told_again():
    last = exited(T + MILLISECOND + 1)
    assert told(exited(T), last) == [("second-end", 20, last)]
    assert told(exited(T), exited(T + MILLISECOND)) == []
    assert told(exited(T), started(T + 1), last) == []
    assert told(started(T), thread(T + 1), exited(T + 2), started(T + 3), thread(T + 4), exited(T + 90_000)) == []


@pytest.mark.parametrize("act", [thread(T + 1), thread(T + 1, 20, 30), thread(T + 1, 20, 20)])
def test_what_a_process_does_behind_its_exit_is_told_once_ahead_of_it(act):
    gone = exited(T)
    assert told(gone, act, act._replace(time=T + 2)) == [("after-exit", 20, gone)]
    assert told(gone, started(T + 1), act) == []


def test_an_exit_comes_behind_what_is_done_in_its_tick():
    assert told(exited(T), thread(T)) == []


def test_a_thread_may_be_listed_while_its_process_ends():
    assert told(exited(T), ThreadRundown(T + 1, 20, 21), started(T + 2)) == []


@pytest.mark.parametrize("pid", [0, 4, UNKNOWN_ID])
def test_ids_of_no_process_are_not_followed(pid):
    assert told(thread(T, pid, pid), started(T + 1, pid)) == []


def test_processes_without_end_are_bounded(monkeypatch):
    monkeypatch.setattr(consistency, "MOST_PROCESSES", 4)
    events = [event for pid in range(100, 200) for event in (exited(T, pid), thread(T + 1, pid, pid + 1000))]
    follows = Consistency()
    assert sum(isinstance(event, Contradiction) for event in follows.checked(events)) == 100
    assert len(follows._exited) == len(follows._risen) == 4
    assert len(follows._running) <= 4
