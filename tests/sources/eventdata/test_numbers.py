"""Which rows of a recording were seen."""

from hypothesis import given
from hypothesis import strategies as st

from etwdetect.sources.eventdata import numbers
from etwdetect.sources.eventdata.numbers import SeenNumbers

NUMBERS = st.lists(st.integers(0, 40) | st.integers(1000, 1050) | st.integers(2040, 2060), max_size=300)


@given(NUMBERS, st.integers(0, 3000))
def test_a_number_is_new_once_in_whatever_order_they_come(some, before):
    seen, expected = SeenNumbers(), set()
    for number in [*range(before), *some, *range(2100), *some]:
        assert seen.is_new(number) == (number not in expected)
        expected.add(number)


def test_numbers_that_come_in_order_are_not_remembered_one_by_one():
    seen = SeenNumbers()
    assert all(seen.is_new(number) for number in (0, 1, 3, 2, *range(4, 5000)))
    assert not seen._pages


def test_numbers_too_far_apart_to_be_remembered_are_new_and_that_is_told(monkeypatch):
    monkeypatch.setattr(numbers, "MOST_PAGES", 2)
    seen = SeenNumbers()
    assert [seen.is_new(number) for number in (5000, 9000, 5000, 9001)] == [True, True, False, True]
    assert not seen.is_full
    assert [seen.is_new(7000), seen.is_new(7000), seen.is_full] == [True, True, True]
