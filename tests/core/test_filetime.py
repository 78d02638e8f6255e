"""FILETIMEs as people read them."""

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etwdetect.core import filetime

MIDNIGHT = 132_337_152_000_000_000  # 2020-05-12, 00:00 UTC


@pytest.mark.parametrize(
    ("ticks", "expected"),
    [
        (0, "1601-01-01 00:00:00.000"),
        (116_444_736_000_000_000, "1970-01-01 00:00:00.000"),
        (MIDNIGHT, "2020-05-12 00:00:00.000"),
        (2_650_467_743_999_999_999, "9999-12-31 23:59:59.999"),
    ],
)
def test_a_filetime_counts_from_1601(ticks, expected):
    assert filetime.full_time(filetime.utc(ticks)) == expected


@pytest.mark.parametrize(("ticks", "expected"), [(9_999, ".000"), (10_000, ".001"), (9_999_999, ".999")])
def test_milliseconds_are_cut_off_and_never_rounded(ticks, expected):
    assert filetime.clock_time(filetime.utc(MIDNIGHT + ticks)) == "00:00:00" + expected


def test_past_the_year_9999_there_is_no_time():
    with pytest.raises(OverflowError):
        filetime.utc(2_650_467_744_000_000_000)


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="this system does not take its zone from TZ")
def test_local_times_are_those_of_the_readers_zone_summer_time_included(monkeypatch):
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    try:
        assert filetime.full_time(filetime.local(MIDNIGHT)) == "2020-05-12 02:00:00.000"
        winter = filetime.from_datetime(datetime(2020, 1, 12, tzinfo=UTC))
        assert filetime.full_time(filetime.local(winter)) == "2020-01-12 01:00:00.000"
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("ticks", [0, 2_650_467_743_999_999_999])
def test_at_the_ends_of_the_calendar_a_local_time_is_still_a_time(ticks):
    assert abs(filetime.local(ticks).replace(tzinfo=None) - filetime.utc(ticks).replace(tzinfo=None)) <= timedelta(
        1
    )


@given(st.integers(0, 2_650_467_743_999_999_999))
def test_a_time_goes_back_to_its_filetime_but_for_less_than_a_microsecond(ticks):
    assert filetime.from_datetime(filetime.utc(ticks)) == ticks - ticks % 10


def test_a_time_of_any_zone_has_its_filetime():
    two_hours_east = timezone(timedelta(hours=2))
    assert filetime.from_datetime(datetime(2020, 5, 12, 2, tzinfo=two_hours_east)) == MIDNIGHT


@pytest.mark.parametrize(("seconds", "ticks"), [(0, 0), (1.5, 15_000_000), (-1, -10_000_000), (0.000_000_06, 1)])
def test_unix_seconds_become_the_nearest_tick(seconds, ticks):
    assert filetime.from_unix_seconds(seconds) == filetime.UNIX_EPOCH + ticks


@pytest.mark.parametrize(("nanoseconds", "ticks"), [(0, 0), (199, 1), (-1, -1), (1_000_000_000, 10_000_000)])
def test_unix_nanoseconds_are_rounded_down_to_ticks(nanoseconds, ticks):
    assert filetime.from_unix_nanoseconds(nanoseconds) == filetime.UNIX_EPOCH + ticks


def test_the_last_filetime_is_the_last_that_has_a_date():
    assert filetime.iso_time(filetime.LAST_FILETIME) == "9999-12-31T23:59:59.999Z"
    assert filetime.iso_time(filetime.LAST_FILETIME + 1) is None
