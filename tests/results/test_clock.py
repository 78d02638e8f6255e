"""The times of the text formats."""

import time

import pytest

from etwdetect.core.filetime import TICKS_PER_SECOND, from_unix_seconds
from etwdetect.results.clock import Clock

HALF_PAST_TWO = from_unix_seconds(1_603_585_800)
"""2020-10-25 00:30 UTC: half past two in Berlin, for the first time that night."""
HOUR = 3600 * TICKS_PER_SECOND


@pytest.fixture
def berlin(monkeypatch):
    if not hasattr(time, "tzset"):
        pytest.skip("this system does not take its zone from TZ")
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("berlin")
def test_the_hour_that_comes_twice_is_told_apart_in_text_and_not_in_the_classic_line():
    clock = Clock(dates=True)
    hours = [HALF_PAST_TWO + number * HOUR for number in (-1, 0, 1, 2)]
    assert list(map(clock.time, hours)) == [
        "2020-10-25 01:30:00.000",
        "2020-10-25 02:30:00.000+02:00",
        "2020-10-25 02:30:00.000+01:00",
        "2020-10-25 03:30:00.000",
    ]
    assert Clock().time(HALF_PAST_TWO) == "02:30:00.000+02:00"
    assert list(map(clock.clock_time, hours[1:3])) == ["02:30:00.000"] * 2


@pytest.mark.usefixtures("berlin")
def test_no_hour_is_told_apart_in_utc_or_when_clocks_go_forward():
    assert Clock(in_utc=True).time(HALF_PAST_TWO) == "00:30:00.000"
    spring = from_unix_seconds(1_585_443_600)  # 2020-03-29 01:00 UTC
    assert [Clock().time(spring + ticks) for ticks in (-1, 0)] == ["01:59:59.999", "03:00:00.000"]
