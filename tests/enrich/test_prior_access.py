"""The last access before a remote thread is told, or that it is not known: no other one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etwdetect.core.order import Sorter
from etwdetect.core.sysmon import DeferredAccess, SysmonAccess, SysmonProcess, SysmonThread
from etwdetect.enrich import prior_access
from etwdetect.enrich.prior_access import ACCESS_WINDOW, NOT_KNOWN
from etwdetect.enrich.sysmon import SysmonEnricher
from etwdetect.results.record import from_json, to_json

SECOND = 10_000_000
TIME = 132_478_044_560_000_000
SOURCES = [SysmonProcess(100 + each, f"AAAA-{each}") for each in range(3)]
TARGET = SysmonProcess(200, "BBBB-1")
UNKNOWN = "not known"


def thread(seconds, source=SOURCES[0]):
    time = TIME + int(seconds * SECOND)
    return SysmonThread(time, "WS", source, TARGET, 300, 0x7FF0_0000_1000, 8, "C:\\ntdll.dll", None, None)


def access(seconds, source=SOURCES[0]):
    time = TIME + int(seconds * SECOND)
    return SysmonAccess(time, "WS", source, TARGET, str(time), "y" * 90)


def deferred(made):
    return DeferredAccess(made.time, ("WS", made.source.guid, made.target.guid), 10, lambda: made)


def told(records):
    """Return by the time and the source of each thread when the access is that is told; None for none."""
    enricher = SysmonEnricher()
    for each in records:
        enricher.observe(each)
    found = {}
    for each in enricher.detections():
        assert from_json(to_json(each)) == each
        known = dict(each.prior_access).get("GrantedAccess")
        is_known = ("PriorAccess", NOT_KNOWN) not in each.absent
        assert is_known or known is None
        found[each.thread.time, each.source.pid] = (known and int(known)) if is_known else UNKNOWN
    return found


def expected(records):
    """Return the same, by looking at all accesses for each thread."""
    accesses = [each for each in records if not isinstance(each, SysmonThread)]
    found = {}
    for each in records:
        if isinstance(each, SysmonThread):
            fitting = (
                other.time
                for other in accesses
                if other.source == each.source and each.time - ACCESS_WINDOW <= other.time <= each.time
            )
            found[each.time, each.source.pid] = max(fitting, default=None)
    return found


def in_seconds(records):
    (time,) = told(records).values()
    return time if time in {None, UNKNOWN} else (time - TIME) / SECOND


MANY = [access(each) for each in range(1, 40)]


@pytest.mark.parametrize("make", [lambda each: each, deferred])
@pytest.mark.parametrize("at", [5.5, 20.5, 38.5])
def test_of_many_accesses_the_last_before_the_thread_is_told_in_both_orders(make, at):
    events = sorted([*MANY, thread(at)], key=lambda each: each.time)
    records = [each if isinstance(each, SysmonThread) else make(each) for each in events]
    assert in_seconds(records) == in_seconds(records[::-1]) == at - 0.5


def test_an_access_that_comes_behind_its_thread_is_told_instead_of_an_earlier_one():
    assert in_seconds([access(1), thread(5.5), access(5)]) == 5


def test_a_log_whose_newer_half_comes_first_has_the_last_access_of_each_thread():
    old = [access(each) for each in range(40)]
    new = [access(1000 + each) for each in range(40)]
    threads = {at: thread(at) for at in (5.5, 35.5, 1005.5, 1035.5)}
    records = [*new[:6], threads[1005.5], *new[6:36], threads[1035.5], *new[36:]]
    records += [*old[:6], threads[5.5], *old[6:36], threads[35.5], *old[36:]]
    assert told(records) == expected(records)


def test_where_the_last_access_may_be_one_that_was_not_kept_that_is_told():
    records = [*MANY, thread(5.5)]
    assert in_seconds(records) == UNKNOWN
    assert in_seconds([*records, access(2)]) == UNKNOWN


def test_an_access_of_a_pair_that_was_given_up_is_not_known(monkeypatch):
    monkeypatch.setattr(prior_access, "_MAX_PAIRS", 1)
    assert in_seconds([access(5), access(6, SOURCES[1]), thread(7)]) == UNKNOWN
    assert in_seconds([access(5), access(6, SOURCES[1]), thread(17)]) is None
    records = [access(1), thread(7), access(6, SOURCES[1]), access(5)]
    assert in_seconds(records) == 5


def test_the_memory_for_call_traces_is_bounded(monkeypatch):
    monkeypatch.setattr(prior_access, "_MAX_TEXT", 1000)
    enricher = SysmonEnricher()
    for each in range(100):
        enricher.observe(access(each, SysmonProcess(each, f"G-{each}")))
    assert enricher._accesses._pairs.weight <= 1000


def test_accesses_that_can_not_be_read_are_passed_over_and_tried_once():
    tried = []
    bad = DeferredAccess(TIME + 5 * SECOND, ("WS", "AAAA-0", "BBBB-1"), 10, lambda: tried.append(1))
    records = [access(4), bad, thread(6), thread(7)]
    assert set(told(records).values()) == {TIME + 4 * SECOND}
    assert len(tried) == 1


EVENTS = st.lists(
    st.tuples(st.booleans(), st.integers(0, 120), st.sampled_from(SOURCES)), max_size=120, unique=True
).map(
    lambda drawn: [
        thread(half / 2, source) if is_thread else access(half / 2, source) for is_thread, half, source in drawn
    ]
)


@given(EVENTS)
def test_in_any_order_the_last_access_is_told_or_that_it_is_not_known(records):
    right = expected(records)
    for key, time in told(records).items():
        assert time in {right[key], UNKNOWN}


@given(EVENTS, st.booleans())
def test_in_the_order_of_time_and_against_it_the_last_access_is_known(records, backwards):
    ordered = sorted(records, key=lambda each: (each.time, isinstance(each, SysmonThread)), reverse=backwards)
    assert told(ordered) == expected(records)


@given(EVENTS)
def test_with_room_for_few_pairs_and_texts_no_other_access_is_told(records):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prior_access, "_MAX_PAIRS", 2)
        patch.setattr(prior_access, "_ACCESSES", 4)
        patch.setattr(prior_access, "_SPANS", 2)
        patch.setattr(prior_access, "Sorter", lambda key, _limit: Sorter(key, 4))
        right = expected(records)
        for key, time in told(records).items():
            assert time in {right[key], UNKNOWN}
