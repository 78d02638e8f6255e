import pytest

from etwdetect.core.events import ImageLoad, ImageUnload
from etwdetect.live import deferred_images
from etwdetect.live.deferred_images import DeferredImages
from etwdetect.sources.decode.encode import encode


@pytest.fixture
def images():
    return DeferredImages()


def load(time, pid, base=0x1000):
    return encode(ImageLoad(time, pid, base, 0x100))[:9]


def unload(time, pid, base=0x1000):
    return encode(ImageUnload(time, pid, base, 0x100))[:9]


@pytest.mark.parametrize("pointer_size", [4, 8])
def test_the_events_of_a_process_come_back_in_order_of_time_and_once(images, pointer_size):
    raws = [encode(ImageLoad(time, 7, 0x1000, 0x100), pointer_size)[:9] for time in (3, 1, 2)]
    images.put([*raws, load(1, 8)])
    assert [raw.time for raw in images.take(7)] == [1, 2, 3]
    assert images.take(7) == []
    assert len(images) == 1


def test_what_is_later_is_kept(images):
    images.put(load(time, 7) for time in (1, 2, 3))
    assert [raw.time for raw in images.take(7, until=2)] == [1, 2]
    assert [raw.time for raw in images.take(7)] == [3]


def test_a_life_that_ended_is_forgotten_and_the_next_one_is_not(images):
    images.put([load(1, 7), unload(6, 7), load(9, 7, 0x2000)])
    images.drop(7, until=5)
    assert [raw.time for raw in images.take(7)] == [9]


def test_an_unmapping_after_the_end_of_a_process_is_not_kept(images):
    images.put([load(1, 7)])
    images.drop(7, until=5)
    images.put([unload(6, 7)])
    assert len(images) == 0


def test_an_unmapping_after_the_events_were_taken_is_kept(images):
    images.put([load(1, 7)])
    images.take(7)
    images.put([unload(2, 7)])
    assert len(images.take(7)) == 1


def test_a_process_with_too_many_is_named(images, monkeypatch):
    monkeypatch.setattr(deferred_images, "MOST_OF_ONE", 3)
    assert images.put([load(1, 7), load(2, 7)]) == []
    assert images.put([load(3, 7), load(1, 8)]) == [7]


def test_of_too_many_in_all_the_processes_with_most_are_named(images, monkeypatch):
    monkeypatch.setattr(deferred_images, "MOST", 4)
    assert images.put(load(1, pid) for pid in (7, 8, 8)) == []
    assert images.put([load(1, 9)]) == [8]


def test_of_too_many_processes_the_one_heard_of_first_goes(monkeypatch):
    monkeypatch.setattr(deferred_images, "MOST_PROCESSES", 2)
    images = DeferredImages()
    images.put(load(1, pid) for pid in (7, 8, 9))
    assert len(images) == 2
    assert [len(images.take(pid)) for pid in (7, 8, 9)] == [0, 1, 1]


def test_a_payload_without_a_process_is_counted(images):
    assert images.put([(*load(1, 7)[:8], b"short")]) == []
    assert (images.damaged, len(images)) == (1, 0)
