"""The bounded map against a plain list that does the same by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etwdetect.core.bounded import BoundedMap


def test_the_oldest_entry_is_evicted_and_returned():
    entries = BoundedMap(2)
    assert [entries.put(key, key.upper()) for key in "abc"] == [[], [], [("a", "A")]]
    assert list(entries) == ["b", "c"]


def test_an_entry_that_is_put_again_is_the_newest_and_one_that_is_read_is_not():
    entries = BoundedMap(2)
    entries.put("a", 1)
    entries.put("b", 2)
    entries.put("a", 3)
    assert entries.get("b") == entries["b"] == 2
    assert entries.put("c", 4) == [("b", 2)]
    assert (entries.get("b"), entries["a"], "b" in entries, "a" in entries) == (None, 3, False, True)


def test_weight_evicts_as_many_as_it_takes_and_an_entry_too_heavy_evicts_itself():
    entries = BoundedMap(9, weight_bound=10)
    for key in "abc":
        entries.put(key, None, 3)
    assert entries.put("d", None, 7) == [("a", None), ("b", None)]
    assert entries.weight == 10
    assert [key for key, _ in entries.put("e", None, 11)] == ["c", "d", "e"]
    assert (len(entries), entries.weight) == (0, 0)


def test_a_bound_below_1_is_refused():
    with pytest.raises(ValueError, match="bound must be at least 1, not 0"):
        BoundedMap(0)


OPERATION = st.tuples(st.sampled_from(["put", "pop"]), st.integers(0, 6), st.integers(0, 5))


@given(st.lists(OPERATION, max_size=60), st.integers(1, 5), st.none() | st.integers(0, 12))
def test_it_holds_what_a_list_kept_by_hand_holds(operations, bound, weight_bound):
    entries = BoundedMap(bound, weight_bound)
    by_hand = []  # (key, weight), oldest first

    def too_heavy():
        return weight_bound is not None and sum(weight for _, weight in by_hand) > weight_bound

    for what, key, weight in operations:
        by_hand = [each for each in by_hand if each[0] != key]
        if what == "put":
            by_hand.append((key, weight))
            entries.put(key, str(key), weight)
        else:
            entries.pop(key)
        while len(by_hand) > bound or too_heavy():
            by_hand.pop(0)
        assert [(key, entries[key]) for key in entries] == [(key, str(key)) for key, _ in by_hand]
        assert entries.weight == sum(weight for _, weight in by_hand)
