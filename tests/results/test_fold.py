"""Joining repeats."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etwdetect.enrich.detection import Start
from etwdetect.results.fold import SECOND, Folder
from tests.results.conftest import MIDNIGHT


def folded(folder, detections):
    return [each for detection in detections for each in folder.add(detection)] + list(folder.release(None))


def seconds(fold):
    last = fold.thread.time if fold.last_time is None else fold.last_time
    return (fold.thread.time - MIDNIGHT) / SECOND, (last - MIDNIGHT) / SECOND, fold.count


@pytest.fixture
def at(detection):
    """Make a detection so many seconds after midnight."""

    def make(second, **changes):
        return replace(detection("a.exe", "b.exe", time=MIDNIGHT + round(second * SECOND)), **changes)

    return make


def test_repeats_within_the_window_are_one_with_a_count(at):
    folds = folded(Folder(60 * SECOND), [at(0), at(1), at(59.9)])
    assert list(map(seconds, folds)) == [(0, 59.9, 3)]


def test_the_window_is_counted_from_the_first_so_that_none_is_held_without_end(at):
    folds = folded(Folder(10 * SECOND), [at(0), at(6), at(10), at(12)])
    assert list(map(seconds, folds)) == [(0, 6, 2), (10, 12, 2)]


def test_one_alone_stays_as_it_is(at):
    assert folded(Folder(SECOND), [at(0)]) == [at(0)]


def test_what_is_held_is_given_back_when_its_time_is_over_though_nothing_follows(at):
    folder = Folder(10 * SECOND)
    assert [*folder.add(at(0)), *folder.add(at(1))] == []
    assert list(folder.release(MIDNIGHT + 10 * SECOND - 1)) == []
    assert list(map(seconds, folder.release(MIDNIGHT + 10 * SECOND))) == [(0, 1, 2)]
    assert list(folder.release(None)) == []


def changed(detection, side, **changes):
    return replace(detection, **{side: replace(getattr(detection, side), **changes)})


@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize("difference", [{"start_time": 5}, {"guid": "B"}, {"image": "c.exe"}, {"pid": 9}])
def test_another_life_is_no_repeat(at, side, difference):
    assert len(folded(Folder(SECOND), [at(0), changed(at(0.1), side, **difference), at(0.2)])) == 2


@pytest.mark.parametrize(
    "difference",
    [
        {"start": Start("x.dll", 5)},
        {"kind": "other"},
        {"severity": "high"},
        {"sigma": ("Rule",)},
        {"host": "other"},
        {"detector": "driver"},
    ],
)
def test_another_start_or_another_word_about_it_is_no_repeat(at, difference):
    assert len(folded(Folder(SECOND), [at(0), at(0.1, **difference), at(0.2)])) == 2


def test_another_address_or_other_evidence_is_no_repeat(at):
    thread = at(0.1).thread
    others = [thread._replace(start_address=1), thread._replace(evidence=("session-start",))]
    assert len(folded(Folder(SECOND), [at(0), *(at(0.1, thread=each) for each in others)])) == 3


def test_the_order_is_that_of_the_firsts(at):
    folds = folded(Folder(SECOND), [at(0), at(0.1, kind="x"), at(0.2), at(0.3, kind="y")])
    assert [fold.kind for fold in folds] == [None, "x", "y"]


def test_more_than_the_bound_are_given_back_early_and_none_is_lost(at):
    folder = Folder(1000 * SECOND, bound=2)
    folds = folded(folder, [at(n, kind=f"{n % 3}") for n in range(9)])
    assert sum(fold.count for fold in folds) == 9
    assert len(folds) > 3


def test_folding_what_was_folded_adds_up(at):
    once = at(0, count=3, last_time=MIDNIGHT + 5 * SECOND)
    folds = folded(Folder(60 * SECOND), [once, at(4), replace(once, count=2, last_time=MIDNIGHT + 30 * SECOND)])
    assert list(map(seconds, folds)) == [(0, 30, 6)]
    assert list(map(seconds, folded(Folder(60 * SECOND), [once, at(4)]))) == [(0, 5, 4)]


times = st.lists(st.tuples(st.integers(0, 100), st.integers(0, 4), st.integers(1, 3)), max_size=40).map(sorted)


@given(times, st.integers(1, 50), st.integers(1, 4))
def test_the_counts_add_up_and_nothing_lies_outside_its_fold(events, window, bound):
    from tests.results.conftest import PLAIN  # noqa: PLC0415

    detections = [
        replace(PLAIN, thread=PLAIN.thread._replace(time=time), kind=str(kind), count=count)
        for time, kind, count in events
    ]
    folds = folded(Folder(window, bound), detections)
    for kind in map(str, range(5)):
        mine = [fold for fold in folds if fold.kind == kind]
        assert sum(fold.count for fold in mine) == sum(each.count for each in detections if each.kind == kind)
        ends = [(fold.thread.time, fold.last_time or fold.thread.time) for fold in mine]
        assert all(begin <= end < begin + window for begin, end in ends)
        assert all(end <= begin for (_, end), (begin, _) in pairwise(ends))


def test_what_is_not_in_order_of_time_is_joined_only_within_the_window(at):
    folds = folded(Folder(10 * SECOND), [at(100), at(95), at(0), at(1)])
    assert list(map(seconds, folds)) == [(100, 100, 2), (0, 1, 2)]
