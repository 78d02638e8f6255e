"""The comparison of both sides: what is the same, and which record is not."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etwdetect.comparison.pairing import Equality, between, compare, explain, key
from etwdetect.core.rule import RemoteThread

MS = 10_000
RECORDS = [RemoteThread(1_000 * MS + number * 50 * MS, 100, 101, 200, 300 + number) for number in range(7)]
SIDES = ("etw", "driver")


def compared(side, changed, equality=Equality.EXACT):
    """Compare *changed* on one side with RECORDS on the other."""
    return compare(changed, RECORDS, equality) if side == "etw" else compare(RECORDS, changed, equality)


def only(comparison, side):
    return comparison.only_etw if side == "etw" else comparison.only_driver


def other(side):
    return "driver" if side == "etw" else "etw"


each_side = pytest.mark.parametrize("side", SIDES)
each_equality = pytest.mark.parametrize("equality", Equality)
each_place = pytest.mark.parametrize("place", range(len(RECORDS)))


@each_equality
def test_the_same_records_are_equal(equality):
    comparison = compare(RECORDS, RECORDS, equality)
    assert comparison.equal
    assert [pair.etw for pair in comparison.matched] == RECORDS
    assert comparison.largest_time_difference == comparison.median_time_difference == 0


@each_equality
def test_nothing_and_nothing_are_equal(equality):
    comparison = compare([], [], equality)
    assert comparison.equal
    assert comparison.largest_time_difference == comparison.median_time_difference == 0


@each_side
@each_equality
@each_place
def test_a_dropped_record_is_named_as_the_other_sides_alone(side, equality, place):
    comparison = compared(side, [*RECORDS[:place], *RECORDS[place + 1 :]], equality)
    assert not comparison.equal
    assert only(comparison, other(side)) == (RECORDS[place],)
    assert only(comparison, side) == comparison.out_of_order == comparison.other_times == ()


@each_side
@each_equality
@each_place
def test_a_record_told_twice_is_named_as_that_sides_alone(side, equality, place):
    comparison = compared(side, [*RECORDS[:place], RECORDS[place], *RECORDS[place:]], equality)
    assert not comparison.equal
    assert only(comparison, side) == (RECORDS[place],)
    assert only(comparison, other(side)) == comparison.out_of_order == ()


@each_side
@each_equality
@each_place
@pytest.mark.parametrize("field", ["creator_pid", "creator_tid", "pid", "tid"])
def test_a_record_with_another_id_is_named_on_both_sides(side, equality, place, field):
    altered = RECORDS[place]._replace(**{field: 9999})
    comparison = compared(side, [*RECORDS[:place], altered, *RECORDS[place + 1 :]], equality)
    assert only(comparison, side) == (altered,)
    assert only(comparison, other(side)) == (RECORDS[place],)


@each_side
@each_place
def test_a_record_that_is_100_ns_off_is_named(side, place):
    altered = RECORDS[place]._replace(time=RECORDS[place].time + 1)
    comparison = compared(side, [*RECORDS[:place], altered, *RECORDS[place + 1 :]])
    assert not comparison.equal
    (pair,) = comparison.other_times
    assert RECORDS[place] in pair
    assert pair.time_difference == (-1 if side == "etw" else 1)
    assert comparison.largest_time_difference == 1


@each_side
@each_place
def test_a_record_in_another_place_is_named_alone(side, place):
    moved = [*RECORDS[:place], *RECORDS[place + 1 :]]
    moved.insert((place + 3) % len(RECORDS), RECORDS[place])
    comparison = compared(side, moved)
    assert [pair.etw for pair in comparison.out_of_order] == [RECORDS[place]]
    assert comparison.only_etw == comparison.only_driver == ()


@each_side
def test_live_records_more_than_10_ms_apart_must_be_in_the_same_order(side):
    swapped = [RECORDS[1], RECORDS[0], *RECORDS[2:]]
    assert not compared(side, swapped, Equality.LIVE).equal


@each_side
def test_live_records_within_10_ms_may_be_in_any_order(side):
    near = [record._replace(time=RECORDS[0].time + number * MS) for number, record in enumerate(RECORDS)]
    shuffled = random.Random(1).sample(near, len(near))
    sides = (shuffled, near) if side == "etw" else (near, shuffled)
    assert compare(*sides, Equality.LIVE).equal
    assert not compare(*sides).equal


def test_live_times_are_shown_and_not_judged():
    later = [record._replace(time=record.time + number) for number, record in enumerate(RECORDS)]
    comparison = compare(RECORDS, later, Equality.LIVE)
    assert comparison.equal
    assert (comparison.median_time_difference, comparison.largest_time_difference) == (3, 6)


@each_side
@each_equality
@each_place
def test_of_records_with_the_same_ids_the_right_one_is_missing(side, equality, place):
    """Thread ids are used again: one missing record must not move all that follow."""
    same = [record._replace(tid=300) for record in RECORDS]
    fewer = [*same[:place], *same[place + 1 :]]
    comparison = compare(fewer, same, equality) if side == "etw" else compare(same, fewer, equality)
    assert only(comparison, other(side)) == (same[place],)
    assert comparison.out_of_order == comparison.other_times == ()


def test_with_two_clocks_records_with_the_same_ids_are_paired_by_the_nearest_time():
    same = [record._replace(tid=300) for record in RECORDS]
    fewer = [record._replace(time=record.time + 2 * MS) for record in (same[1], same[4], same[6])]
    comparison = compare(same, fewer, Equality.LIVE)
    assert [pair.etw for pair in comparison.matched] == [same[1], same[4], same[6]]
    assert comparison.largest_time_difference == 2 * MS


def test_what_is_expected_of_one_side_alone_is_explained():
    comparison = explain(
        compare(RECORDS[1:], RECORDS[:-1]), lambda record, side: side == "driver" and record == RECORDS[0]
    )
    assert comparison.explained == (RECORDS[0],)
    assert comparison.only_driver == ()
    assert comparison.only_etw == (RECORDS[-1],)


def test_what_lies_between_two_markers_is_taken_without_them():
    first, second = key(RECORDS[1]), key(RECORDS[4])
    assert between(RECORDS, first, second) == RECORDS[2:4]
    with pytest.raises(ValueError, match="999"):
        between(RECORDS, first, (100, 101, 200, 999))
    with pytest.raises(ValueError, match="301"):
        between(RECORDS, second, first)


def test_a_thread_with_the_id_of_a_marker_in_another_process_is_no_marker():
    reused = RECORDS[2]._replace(pid=201, tid=RECORDS[4].tid)
    records = [*RECORDS[:2], reused, *RECORDS[3:]]
    assert between(records, key(records[1]), key(records[4])) == [reused, RECORDS[3]]


SOME = st.lists(
    st.builds(lambda time, tid: RemoteThread(time, 1, 2, 3, tid), st.integers(0, 9), st.integers(4, 6))
)


@given(etw=SOME, driver=SOME, equality=st.sampled_from(Equality))
def test_each_record_is_matched_once_or_on_one_side_alone(etw, driver, equality):
    comparison = compare(etw, driver, equality)
    mine = [pair.etw for pair in comparison.matched]
    theirs = [pair.driver for pair in comparison.matched]
    assert sorted([*mine, *comparison.only_etw]) == sorted(etw)
    assert sorted([*theirs, *comparison.only_driver]) == sorted(driver)
    assert all(pair.etw[1:5] == pair.driver[1:5] for pair in comparison.matched)
    assert not {record[1:5] for record in comparison.only_etw} & {record[1:5] for record in comparison.only_driver}


@given(records=SOME)
def test_equal_is_being_the_same_list(records):
    assert compare(records, records).equal
    backwards = records[::-1]
    assert compare(records, backwards).equal == (records == backwards)
