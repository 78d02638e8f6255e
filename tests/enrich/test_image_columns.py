"""What many image events of one process change at once is what they change one by one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

np = pytest.importorskip("numpy")

from etwdetect.core import prefilter  # noqa: E402 (numpy may be missing)
from etwdetect.core.events import ImageLoad, ImageUnload  # noqa: E402
from etwdetect.enrich import modules  # noqa: E402
from etwdetect.enrich.image_columns import ImageColumns  # noqa: E402
from tests.enrich.test_modules import ADDRESSES, after, load, path_at, unload  # noqa: E402


def in_columns(events):
    """The events of one process as columns, their places being their numbers."""
    kinds = [
        prefilter.IMAGE_UNLOAD
        if isinstance(event, ImageUnload)
        else prefilter.IMAGE_LISTING
        if event.rundown
        else prefilter.IMAGE_LOAD
        for event in events
    ]
    columns = (
        np.array([getattr(event, name) for event in events], kind)
        for name, kind in (("base", np.uint64), ("size", np.uint64))
    )
    times = np.array([event.time for event in events], np.int64)
    return ImageColumns(
        20, times, np.array(kinds), *columns, np.arange(len(events)), events.__getitem__,
        lambda first, last: [event.image or "" for event in events[first:last]],
    )  # fmt: skip


def shown(found):
    return [found.at(address) for address in range(45)], list(found.paths()), len(found), found.listed


TIMED = st.lists(
    st.one_of(
        st.builds(load, ADDRESSES, st.integers(0, 5), st.sampled_from(("a", "b")), rundown=st.booleans()),
        st.builds(load, ADDRESSES.map(lambda base: base & ~3), st.just(4)),
        st.builds(unload, ADDRESSES.map(lambda base: base & ~3), st.just(4)),
    ),
    max_size=8,
).map(lambda events: [event._replace(time=number + 1) for number, event in enumerate(events)])


@given(TIMED, st.lists(TIMED.filter(bool), max_size=4))
def test_what_many_events_change_at_once_is_what_they_change_one_by_one(before, parts):
    one_by_one, at_once = after(*before), after(*before)
    for events in parts:
        taken = at_once.take(in_columns(events))
        over = [(one_by_one.load if isinstance(each, ImageLoad) else one_by_one.unload)(each) for each in events]
        if taken:
            loads = [is_over for each, is_over in zip(events, over, strict=True) if isinstance(each, ImageLoad)]
            assert not any(loads)
        else:
            for each in events:
                (at_once.load if isinstance(each, ImageLoad) else at_once.unload)(each)
        assert shown(at_once) == shown(one_by_one)


def test_images_that_lie_apart_are_taken_at_once():
    found = after(load(0x1000), load(0x9000))
    assert len(list(found.changed_paths())) == 2
    events = [load(0x3000, time=2), unload(0x1000), load(0x5000, time=3, rundown=True)]
    assert found.take(in_columns(events))
    assert len(list(found.changed_paths())) == 3
    assert [path_at(found, address) for address in (0x1000, 0x3000, 0x5000, 0x9000)] == [None, *["a.dll"] * 3]
    assert found.listed == 3


@pytest.mark.parametrize(
    "events",
    [
        [load(0x1800)],
        [load(0x1000)],
        [load(0x0800, 0x801)],
        [load(0x4000), load(0x4800)],
        [load(0x4000), load(0x4000)],
        [load(0x4000, 0)],
    ],
    ids=["over one", "twice", "into one", "over each other", "twice among them", "of no size"],
)
def test_images_that_bear_on_each_other_are_not_taken_at_once(events):
    found = after(load(0x1000))
    before = shown(found)
    assert not found.take(in_columns(events))
    assert shown(found) == before


def test_more_images_than_are_kept_are_not_taken_at_once(monkeypatch):
    monkeypatch.setattr(modules, "MOST_OF_ONE", 3)
    assert after(load(0x1000)).take(in_columns([load(0x3000), load(0x5000)]))
    assert not after(load(0x1000)).take(in_columns([load(0x3000), load(0x5000), load(0x7000)]))
