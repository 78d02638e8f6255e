"""Time stamps to FILETIMEs, for each of the three clocks."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etwdetect.sources.etl import logfile
from etwdetect.sources.etl.clock import ClockConversion
from tests.bytes_by_hand import ANCHOR, START_TIME, logfile_payload


def clock(anchor=ANCHOR, **fields):
    return ClockConversion(logfile.parse(logfile_payload(**fields)), anchor)


@pytest.mark.parametrize(
    ("fields", "ticks", "filetimes"),
    [
        ({"clock": 1, "perf_freq": 10_000_000}, 25, 25),
        ({"clock": 1, "perf_freq": 3_579_545}, 3_579_545, 10_000_000),
        ({"clock": 1, "perf_freq": 3_000_000_000}, 299, 0),
        ({"clock": 1, "perf_freq": 3_000_000_000}, 300, 1),
        ({"clock": 0, "perf_freq": 1_000_000}, 3, 30),
        ({"clock": 2, "perf_freq": 3_579_545}, 25, 25),
        ({"clock": 3, "cpu_mhz": 2400}, 2400, 10),
        ({"clock": 3, "cpu_mhz": 2400}, 239, 0),
    ],
)
def test_the_logfile_headers_record_is_the_anchor(fields, ticks, filetimes):
    assert clock(**fields).filetime(ANCHOR) == START_TIME
    assert clock(**fields).filetime(ANCHOR + ticks) == START_TIME + filetimes


def test_a_time_before_the_anchor_lies_before_the_start():
    assert clock(perf_freq=1_000_000).filetime(ANCHOR - 1) == START_TIME - 10


def test_centuries_of_ticks_lose_nothing():
    assert clock(anchor=0, perf_freq=3_000_000_000).filetime(3_000_000_000 << 31) == START_TIME + (
        10_000_000 << 31
    )


@pytest.mark.parametrize("name", [4, 0xFFFFFFFF])
def test_an_unknown_clock_is_an_error(name):
    with pytest.raises(ValueError, match=f"unknown clock type, {name}"):
        clock(clock=name)


@pytest.mark.parametrize(
    "fields", [{"clock": 1, "perf_freq": 0}, {"clock": 1, "perf_freq": -5}, {"clock": 3, "cpu_mhz": 0}]
)
def test_a_clock_that_stands_still_is_an_error(fields):
    with pytest.raises(ValueError, match="an invalid clock frequency of"):
        clock(**fields)


a_clock = st.one_of(
    st.fixed_dictionaries({"clock": st.just(1), "perf_freq": st.integers(1, 1 << 40)}),
    st.just({"clock": 2}),
    st.fixed_dictionaries({"clock": st.just(3), "cpu_mhz": st.integers(1, 10_000)}),
)


@given(a_clock, st.integers(-(1 << 63), (1 << 63) - 1))
def test_a_filetime_is_the_whole_part_of_the_exact_one(fields, raw):
    rate = {
        1: Fraction(10_000_000, fields.get("perf_freq", 1)),
        2: Fraction(1),
        3: Fraction(10, fields.get("cpu_mhz", 1)),
    }[fields["clock"]]
    exact = START_TIME + (raw - ANCHOR) * rate
    assert 0 <= exact - clock(**fields).filetime(raw) < 1


@given(a_clock, st.integers(0, 1 << 61))
def test_the_raw_time_of_a_filetime_is_the_earliest_that_reaches_it(fields, filetime):
    under_test = clock(**fields)
    raw = under_test.raw(filetime)
    assert under_test.filetime(raw - 1) < filetime <= under_test.filetime(raw)


@given(
    st.sampled_from(
        ({"clock": 1, "perf_freq": 3_579_545}, {"clock": 2}, {"clock": 3, "cpu_mhz": 2400}, {"perf_freq": 1 << 62})
    ),
    st.lists(st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(ANCHOR - 10**9, ANCHOR + 10**9)),
)
def test_many_times_are_converted_as_one_by_one_or_left_alone(fields, raws):
    np = pytest.importorskip("numpy")
    one = clock(**fields)
    times, valid = one.filetimes(np.array(raws, np.int64))
    for raw, time, is_valid in zip(raws, times.tolist(), valid.tolist(), strict=True):
        expected = one.filetime(raw)
        assert not is_valid or time == expected
        if fields.get("perf_freq") != 1 << 62 and abs(raw - ANCHOR) <= 10**9:
            assert is_valid == (expected >= 0)
