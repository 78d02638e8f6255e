"""Deferred image events: none is lost, and a scan knows what it would know had it decoded them in turn."""

import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from etwdetect.core.events import ImageLoad, ImageUnload, ProcessStart, ProcessStop, ThreadStart
from etwdetect.core.order import order_of
from etwdetect.core.raw import IMAGE, RawEvent
from etwdetect.core.rule import RemoteThreadRule
from etwdetect.enrich.enricher import Enricher
from etwdetect.offline import Scan, deferred_images
from etwdetect.offline.deferred_images import DeferredImages
from etwdetect.offline.deferred_stacks import DeferredStacks
from etwdetect.offline.image_replay import ImageReplay
from etwdetect.pipeline import Pipeline
from etwdetect.sources.decode.encode import encode
from etwdetect.sources.etl.reader import Trace
from etwdetect.sources.etl.writer import TraceOptions, TraceWriter
from tests.bytes_by_hand import ANCHOR, START_TIME, first_buffer, system_record, u32, u64, utf16

START = 132_337_152_000_000_000
SECOND = 10_000_000


@pytest.fixture(params=["event by event", "in columns"])
def either_way(request, monkeypatch):
    """Look through few events as through many."""
    if request.param == "in columns":
        monkeypatch.setattr(deferred_images, "MANY", 0)


either_way_of_looking = pytest.mark.usefixtures("either_way")
limits = pytest.mark.parametrize("limit", [1, 300, 8 << 20], ids=["each to the file", "some", "none"])


def raw(pid, time, **options):
    return encode(ImageLoad(time, pid, 0x10000, 0x1000, image="a.dll", **options))


def filled(events, limit=8 << 20):
    images = DeferredImages(limit)
    for event in events:
        images.add(event)
    return images


def take(images, record):
    """Take one of the kernel's records out of a window."""
    images.take(bytearray(bytes(16) + record + bytes(-len(record) % 8)), [16])


@limits
def test_all_events_come_back_as_they_were(limit):
    events = [raw(pid, 100 - pid)._replace(offset=pid << 33) for pid in range(20)]
    assert [event._replace(tid=0) for event in filled(events, limit)] == [
        event._replace(tid=0) for event in events
    ]


def test_an_event_with_the_largest_numbers_that_a_header_has_comes_back_as_it_was():
    (event,) = filled([RawEvent(IMAGE, 0xFFFF, 0xFFFF, 0xFF, 1 << 61, 1, 1, 8, bytes(0xFFFF), 1 << 63)])
    assert (event.id, event.version, event.opcode, event.time) == (0xFFFF, 0xFFFF, 0xFF, 1 << 61)


@either_way_of_looking
@limits
def test_the_events_of_a_process_come_in_order_of_time(limit):
    events = [raw(pid, time) for time in (5, 3, 9, 3) for pid in (20, 30)]
    images = filled(events, limit)
    assert [event.time for event in images.of(20)] == [3, 3, 5, 9]
    assert [event.time for event in images.of(20, 2)] == [5, 9]
    assert list(images.of(99)) == []


@either_way_of_looking
@pytest.mark.parametrize("limit", [1, 3000, 100_000], ids=["each to the file", "blocks", "one block"])
def test_events_of_one_block_and_of_any_size_come_back_with_their_process(limit):
    pids = [number * 7 % 5 for number in range(200)]
    events = [
        raw(pid, 300 - time)._replace(payload=raw(pid, 0).payload + bytes(time % 9 * 1500))
        for time, pid in enumerate(pids)
    ]
    images = filled(events, limit)
    for pid in range(5):
        expected = [(event.time, event.payload) for event, of in zip(events, pids, strict=True) if of == pid]
        assert [(event.time, event.payload) for event in images.of(pid)] == expected[::-1]


@either_way_of_looking
def test_the_process_stands_in_the_payload_or_for_the_first_version_in_the_header():
    first = RawEvent(IMAGE, 0, 0, 10, 5, 20, 1, 4, u32(0x1000) + u32(0x1000) + u32(99))
    later = RawEvent(IMAGE, 0, 1, 10, 5, 99, 1, 4, u32(0x1000) + u32(0x1000) + u32(20))
    wide = RawEvent(IMAGE, 0, 2, 10, 5, 99, 1, 8, u64(0x1000) + u64(0x1000) + u32(20))
    short = RawEvent(IMAGE, 0, 2, 10, 5, 20, 1, 8, u64(0x1000))
    assert [event.version for event in filled([first, later, wide, short]).of(20)] == [0, 1, 2]


@either_way_of_looking
@limits
def test_the_kernels_records_are_kept_as_they_are_and_read_when_they_are_asked_for(limit):
    """As the record stands in the file: V2 of the kernel's image event, hook id 0x1403, a listing."""
    payload = (
        u64(0x10000) + u64(0x1000) + u32(20) + u32(3) + u32(4) + u32(0) + u64(0) + u32(0) * 4 + utf16("a.dll")
    )
    images = DeferredImages(limit)
    images.begin(Trace(io.BytesIO(first_buffer()), "a.etl").clock)
    take(images, system_record(0x1403, payload, version=2, pid=99, time=ANCHOR + 2))
    take(images, system_record(0x030A, payload, version=2, pid=99, time=ANCHOR + 1))
    assert [(event.opcode, event.payload) for event in images.of(20)] == [(10, payload), (3, payload)]
    assert [event.time for event in images] == [START_TIME + 2, START_TIME + 1]
    assert images.hooks == {0x1403: 1, 0x030A: 1}


@either_way_of_looking
@limits
def test_records_of_files_with_other_clocks_have_their_times(limit):
    payload = u64(0x10000) + u64(0x1000) + u32(20) + u32(3) + u32(4) + u32(0) + u64(0) + u32(0) * 4 + utf16("a")
    images = DeferredImages(limit)
    for start in (START_TIME + 50, START_TIME):
        images.begin(Trace(io.BytesIO(first_buffer(start_time=start)), "a.etl").clock)
        take(images, system_record(0x140A, payload, version=2, time=ANCHOR + 1))
        take(images, system_record(0x140A, payload, version=2, time=ANCHOR + 1))
    times = [START_TIME + 1, START_TIME + 1, START_TIME + 51, START_TIME + 51]
    assert [event.time for event in images.of(20)] == times
    assert list(images.part(20, 1, 2).times) == times[1:3]


def test_a_record_without_a_sound_time_is_left_out_and_it_knows():
    images = filled([raw(20, 1)])
    images.begin(Trace(io.BytesIO(first_buffer()), "a.etl").clock)
    take(images, system_record(0x1403, bytes(60), time=-(1 << 62)))
    assert [event.time for event in images] == [1]
    assert (images.cut, images.damaged) == (False, True)


@either_way_of_looking
def test_more_than_can_be_found_are_not_found_and_it_knows(monkeypatch):
    monkeypatch.setattr(deferred_images, "MOST_OF_ONE", 3)
    images = filled([raw(20, time) for time in range(5)])
    assert [event.time for event in images.of(20)] == [0, 1, 2]
    assert (images.cut, images.damaged) == (True, False)
    monkeypatch.setattr(deferred_images, "MOST_PLACES", 2)
    images = filled([raw(pid, 1) for pid in range(5)])
    assert [len(list(images.of(pid))) for pid in range(5)] == [1, 1, 0, 0, 0]
    assert (images.cut, images.damaged) == (True, False)


# -- fed late, or in their turn


PIDS = st.integers(1, 3)
BASES = st.integers(0, 3).map(lambda page: page << 12)
NUMBERS = st.integers(0, 2)
SIZES = st.integers(1, 2).map(lambda page: page << 12)


def any_event(time):
    name = st.sampled_from(("a.exe", "b.dll", "\\c\\a.exe"))
    return st.one_of(
        st.builds(ProcessStart, time, PIDS, st.just(1), PIDS, PIDS, st.just(1), st.none(), st.none(), name),
        st.builds(ProcessStop, time, PIDS),
        st.builds(ThreadStart, time, PIDS, st.just(1), PIDS, st.just(7), BASES),
        st.builds(ThreadStart, time, PIDS, st.just(1), PIDS, st.just(8), BASES),
        st.builds(ImageLoad, time, PIDS, BASES, SIZES, NUMBERS, NUMBERS, name, st.booleans()),
        st.builds(ImageLoad, time, PIDS, BASES, SIZES, NUMBERS, NUMBERS, name),
        st.builds(ImageUnload, time, PIDS, BASES, SIZES, name),
    )


HISTORIES = st.lists(st.integers(1, 4), max_size=25).flatmap(
    lambda steps: st.tuples(*(any_event(st.just(sum(steps[: at + 1]) * SECOND // 2)) for at in range(len(steps))))
)
"""Events at different times, in their order: some closer than an image may come late, some farther apart."""

LOST_START = (
    ProcessStop(1 * SECOND, 2),
    ImageLoad(2 * SECOND, 2, 0x1000, 0x1000, image="a.exe"),
    ProcessStart(3 * SECOND, 2, 1, 1, 2, 1, image="b.exe"),
    ThreadStart(4 * SECOND, 1, 1, 1, 7, 0),
    ThreadStart(5 * SECOND, 1, 1, 2, 7, 0),
    ProcessStop(5 * SECOND + 1, 2, command_line="a"),
)
"""The parent of process 1 is known by an image alone, as its own start is missing."""


def in_turn(events):
    """The detections of an enricher that observes images as they come."""
    enricher, found = Enricher(), []
    pipeline = Pipeline(RemoteThreadRule(), enricher)
    for event in events:
        if not isinstance(event, ImageLoad | ImageUnload):
            enricher.prescan(event)
    for event in events:
        if isinstance(event, ImageLoad | ImageUnload):
            enricher.prescan(event)
    for event in events:
        found += pipeline.take(event.time - 1)
        pipeline.observe(event)
    return [*found, *pipeline.take()]


def fed_late(events, *, as_records=False):
    """The detections of one that gets images only where there is a remote thread."""
    images, others = DeferredImages(), []
    clock = Trace(io.BytesIO(first_buffer()), "a.etl").clock
    images.begin(clock)
    for event in events:
        if isinstance(event, ImageLoad | ImageUnload):
            # A trace knows no listing by this provider: the flag travels as the id.
            raw = _with_rundown(event)
            if as_records:
                hook = 0x1400 | raw.opcode
                take(images, system_record(hook, raw.payload, version=2, pid=0, time=clock.raw(event.time)))
            else:
                images.add(raw)
        else:
            others.append(event)
    enricher, found = Enricher(), []
    replay = ImageReplay(images, DeferredStacks(), enricher)
    pipeline = Pipeline(RemoteThreadRule(), enricher, replay.look_around)
    for event in others:
        enricher.prescan(event)
    for event in [*others, None]:
        for until in replay.advance(event):
            found += pipeline.take(until)
        if event is not None:
            pipeline.observe(event)
    return found


def _with_rundown(event):
    opcode = 2 if isinstance(event, ImageUnload) else 3 if event.rundown else 10
    payload = encode(event._replace(rundown=False) if isinstance(event, ImageLoad) else event).payload
    # The NT Kernel Logger's form, which has listings: V2, with a few reserved fields between.
    name = payload[36:]
    payload = payload[:28] + u32(0) + payload[28:36] + u32(0) * 4 + name
    return RawEvent(IMAGE, 0, 2, opcode, event.time, 0, 0, 8, payload)


@pytest.mark.slow
@given(HISTORIES)
@example(LOST_START)
def test_images_that_are_told_late_make_the_same_detections_as_images_in_their_turn(events):
    expected = in_turn(events)
    assert fed_late(events) == expected
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("etwdetect.offline.image_replay._MOST_AT_ONCE", 1)
        assert fed_late(events) == expected


@pytest.mark.slow
@pytest.mark.parametrize(("at_once", "alone"), [(4096, 8), (4096, 1), (3, 1)])
@given(HISTORIES)
@example(LOST_START)
def test_images_that_are_followed_in_columns_make_the_same_detections(at_once, alone, events):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("etwdetect.offline.image_replay._MOST_AT_ONCE", at_once)
        patch.setattr("etwdetect.offline.image_replay._FIRST_ALONE", alone)
        patch.setattr(deferred_images, "MANY", 0)
        assert fed_late(events, as_records=True) == in_turn(events)
        assert fed_late(events) == in_turn(events)


def test_the_images_of_a_whole_trace_name_its_starts():
    events = [
        ProcessStart(START + SECOND, 10, 11, 20, image="a.exe"),
        ThreadStart(START + SECOND + 1, 10, 11, 20, 21, 0x5000),
        ImageLoad(START + SECOND + 2, 20, 0x10000, 0x1000, image="\\x\\b.dll"),
        ThreadStart(START + 9 * SECOND, 10, 11, 20, 22, 0x10020),
    ]
    assert sorted(events, key=order_of) == events
    file = io.BytesIO()
    with TraceWriter(file, TraceOptions(start_time=START)) as writer:
        for event in events:
            writer.write(encode(event))
    (found,) = Scan([Trace(file, "a.etl")]).detections()
    assert (found.start.module, found.start.offset) == ("\\x\\b.dll", 0x20)


@either_way_of_looking
def test_a_damaged_image_event_makes_what_is_known_of_images_uncertain():
    images = filled([raw(20, 1), raw(20, 2)._replace(payload=raw(20, 2).payload[:21])])
    enricher = Enricher()
    replay = ImageReplay(images, DeferredStacks(), enricher)
    enricher.observe(ProcessStart(0, 10, 11, 20, image="a.exe"))
    (hit,) = (RemoteThreadRule().observe(ThreadStart(9, 10, 11, 20, 22, 0x999_0000)),)
    replay.look_around(hit)
    enricher.add(hit)
    (until,) = replay.advance(None)
    (found,) = enricher.take(until)
    assert replay.damaged == 1
    assert "may not be all" in dict(found.absent)["StartModule"]


@either_way_of_looking
def test_more_images_than_are_kept_are_said_to_be_forgotten_not_untold(monkeypatch):
    monkeypatch.setattr(deferred_images, "MOST_OF_ONE", 1)
    images = filled([raw(20, 1), raw(20, 2)])
    enricher = Enricher()
    replay = ImageReplay(images, DeferredStacks(), enricher)
    enricher.observe(ProcessStart(0, 10, 11, 20, image="a.exe"))
    hit = RemoteThreadRule().observe(ThreadStart(9, 10, 11, 20, 22, 0x999_0000))
    replay.look_around(hit)
    enricher.add(hit)
    (found,) = enricher.take()
    assert dict(found.absent)["StartModule"] == "there are more images than are remembered"


@either_way_of_looking
def test_the_images_of_a_time_are_found_without_reading_all(monkeypatch):
    images = filled([raw(20, time) for time in range(1_000)])
    assert [event.time for event in images.between(20, 500, 502)] == [500, 501, 502]
    assert list(images.between(30, 0, 9)) == []
    read, at = [], images.at
    monkeypatch.setattr(images, "at", lambda place: read.append(place) or at(place))
    list(images.between(20, 900, 901))
    assert len(read) < 20
