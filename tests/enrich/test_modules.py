"""The images of one process, and which of them holds an address."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etwdetect.core.events import ImageLoad, ImageUnload
from etwdetect.enrich import modules
from etwdetect.enrich.modules import ComingModules, ModuleMap


def load(base, size=0x1000, path="a.dll", time=1, **options):
    return ImageLoad(time, 20, base, size, image=path, **options)


def unload(base, size=0x1000, time=2):
    return ImageUnload(time, 20, base, size)


def after(*events):
    found = ModuleMap()
    for event in events:
        (found.load if isinstance(event, ImageLoad) else found.unload)(event)
    return found


def path_at(found, address):
    module = found.at(address)
    return module and module.path


@pytest.mark.parametrize(("address", "path"), [(0x0FFF, None), (0x1000, "a"), (0x1FFF, "a"), (0x2000, None)])
def test_an_image_holds_the_addresses_from_its_base_to_its_end(address, path):
    assert path_at(after(load(0x1000, path="a")), address) == path


def test_of_neighbours_each_holds_its_own():
    found = after(load(0x2000, path="b"), load(0x1000, path="a"), load(0x3000, path="c"))
    assert [path_at(found, address) for address in (0x1FFF, 0x2000, 0x3000)] == ["a", "b", "c"]


def test_an_unmapped_image_holds_nothing():
    assert after(load(0x1000), unload(0x1000)).at(0x1000) is None


def test_what_was_never_mapped_can_be_unmapped():
    assert path_at(after(unload(0x5000), load(0x1000)), 0x1000) == "a.dll"


@pytest.mark.parametrize("event", [load(0x3000, path="b"), load(0x1000, path="b"), unload(0x1000)])
def test_paths_are_told_again_only_where_images_changed(event):
    found = after(load(0x1000, path="a"), load(0x5000, path="c"))
    assert list(found.changed_paths()) == ["a", "c"]
    assert list(found.changed_paths()) == []
    found.unload(unload(0x9000))
    assert list(found.changed_paths()) == []
    (found.load if isinstance(event, ImageLoad) else found.unload)(event)
    assert list(found.changed_paths()) == list(found.paths()) != []


def test_an_image_over_another_takes_its_place():
    """That the first was unmapped was not told."""
    found = after(load(0x1000, 0x3000, "old"), load(0x5000, path="far"), load(0x2000, 0x1000, "new"))
    assert [path_at(found, address) for address in (0x1000, 0x2000, 0x3000, 0x5000)] == [None, "new", None, "far"]


def test_an_image_told_twice_is_one_with_what_both_tell():
    found = after(load(0x1000, time=5, time_date_stamp=0), load(0x1000, time=7, time_date_stamp=9, checksum=3))
    assert len(found) == 1
    assert found.at(0x1000) == (0x1000, 0x1000, "a.dll", 3, 9, 5)


def test_a_listing_is_noted():
    assert after(load(0x1000)).listed is None
    assert after(load(0x1000), load(0x2000, time=8, rundown=True)).listed == 8


def test_of_too_many_images_no_more_are_remembered(monkeypatch):
    monkeypatch.setattr(modules, "MOST_OF_ONE", 3)
    found = after(*(load(0x1000 * number) for number in range(1, 10)))
    assert (len(found), found.cut) == (3, True)


ADDRESSES = st.integers(0, 40)
EVENTS = st.lists(
    st.one_of(
        st.builds(load, ADDRESSES, st.integers(0, 9), st.sampled_from(("a", "b"))),
        st.builds(unload, ADDRESSES),
    )
)


@given(EVENTS, ADDRESSES)
def test_an_address_is_held_by_the_image_that_was_mapped_there_last(events, address):
    """The naive model: a list, from which goes what a new image lies over."""
    mapped = []
    for event in events:
        if isinstance(event, ImageUnload):
            mapped = [each for each in mapped if each.base != event.base]
            continue
        end = max(event.base + event.size, event.base + 1)
        same = any(each.base == event.base and each.size == event.size for each in mapped)
        if same:
            mapped = [each for each in mapped if each.base != event.base]
        else:
            mapped = [each for each in mapped if each.base + each.size <= event.base or each.base >= end]
            mapped = [each for each in mapped if each.base != event.base]
        mapped.append(event)
    expected = [each.image for each in mapped if each.base <= address < each.base + each.size]
    found = path_at(after(*events), address)
    assert ([found] if found else []) == expected


# -- what is to come


def coming(*events):
    found = ComingModules()
    for event in events:
        found.prescan(event)
    return found


def test_a_listing_or_an_unmapping_to_come_tells_of_an_image_that_is_mapped_now():
    listing, unmapping = load(0x1000, rundown=True), unload(0x5000)
    assert list(coming(listing, unmapping, load(0x9000)).of(20)) == [listing, unmapping]
    assert list(coming(listing).of(30)) == []


def test_an_image_that_is_mapped_before_it_is_unmapped_is_not_mapped_before_that():
    events = load(0x1000, time=5), unload(0x1000, time=9)
    assert list(coming(*events).of(20)) == []
    assert list(coming(*reversed(events)).of(20)) == []


def test_what_has_come_is_not_to_come():
    event = unload(0x1000)
    found = coming(event)
    found.observe(event)
    assert list(found.of(20)) == []


def test_no_more_is_prescanned_than_the_bound():
    found = ComingModules(bound=2)
    for base in range(5):
        found.prescan(unload(base))
    assert (len(list(found.of(20))), found.cut) == (2, True)


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 9), st.booleans()), unique_by=lambda each: each[0]))
def test_an_image_to_come_holds_the_addresses_from_its_base_to_its_end_until_it_has_come(images):
    """Each has 16 pages to itself; some have come already."""
    events = [(load(place << 4, size, f"{place}", time=place, rundown=True), come) for place, size, come in images]
    found = coming(*(event for event, _ in events))
    assert found.at(20, 1 << 30) is None
    for event, come in events:
        if come:
            found.observe(event)
    left = [event for event, come in events if not come]
    for address in range(21 << 4):
        expected = next((each for each in left if each.base <= address < each.base + each.size), None)
        assert found.at(20, address) == expected
    assert list(found.of(20)) == sorted(left, key=lambda event: event.time)


def test_the_first_listing_to_come_is_found_behind_unmappings():
    listing = load(0x2000, time=8, rundown=True, time_date_stamp=1)
    found = coming(unload(0x1000), listing, load(0x3000, time=9, rundown=True, time_date_stamp=1))
    assert found.listing(20) == listing
    assert found.listing(30) is None
    found.observe(listing)
    assert found.listing(20).base == 0x3000


def test_asking_for_images_to_come_takes_no_longer_however_many_there_are(monkeypatch):
    looked_at, is_to_come = [], modules._ComingOfOne._is_to_come
    monkeypatch.setattr(
        modules._ComingOfOne, "_is_to_come", lambda self, event: looked_at.append(1) or is_to_come(self, event)
    )
    found = coming(*(load(base << 4, 16, rundown=True) for base in range(2_000)))
    for number in range(1_000):
        assert found.at(20, number << 4)
        assert next(found.of(20))
        found.listing(20)
    assert len(looked_at) < 10_000
