"""From events and remote threads to detections: what was known of both processes and the start, at the time."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etwdetect.core.events import (
    ImageLoad,
    ImageUnload,
    Loss,
    MachineName,
    ProcessRundown,
    ProcessStart,
    ProcessStop,
    ThreadStart,
    VolumeMapping,
)
from etwdetect.core.rule import RemoteThread
from etwdetect.enrich import process_tracker
from etwdetect.enrich.absent import OUTSIDE
from etwdetect.enrich.enricher import GRACE_PERIOD, Enricher
from etwdetect.enrich.forgotten import FORGOTTEN, PERHAPS_FORGOTTEN

SECOND = 10_000_000
T = 1000 * SECOND
CREATOR, TARGET = 10, 20
NTDLL = "\\SystemRoot\\System32\\ntdll.dll"
ADDRESS = 0x7FFC_0000_1234
BASE = 0x7FFC_0000_0000
HIT = RemoteThread(T, CREATOR, 11, TARGET, 21, ADDRESS)
SYSTEM_SID = bytes.fromhex("010100000000000512000000")


def start(time, pid=TARGET, **options):
    return ProcessStart(time, CREATOR, 11, pid, **{"image": "target.exe", **options})


def listed(pid=TARGET, time=1, **options):
    return ProcessRundown(time, pid, **{"image": "target.exe", **options})


def load(time, base=BASE, size=0x10000, path=NTDLL, pid=TARGET, **options):
    return ImageLoad(time, pid, base, size, image=path, **options)


def detected(*events, hit=HIT, prescanned=(), **options):
    """The detection of *hit*, with what was told before it and after it."""
    enricher = Enricher(**options)
    for event in (*prescanned, *events):
        if event in prescanned:
            enricher.prescan(event)
    for event in events:
        if event.time <= hit.time:
            enricher.observe(event)
    enricher.add(hit)
    found = []
    for event in events:
        if event.time > hit.time:
            found += enricher.take(event.time - 1)
            enricher.observe(event)
    found += enricher.take()
    assert len(found) == 1
    return found[0]


def why(detection, field):
    return dict(detection.absent)[field]


# -- processes


def test_a_process_is_told_with_all_that_is_known_of_it():
    found = detected(
        VolumeMapping(1, "\\Device\\HarddiskVolume2\\", "C:\\"),
        MachineName(1, "HOST1"),
        listed(5, image="\\Device\\HarddiskVolume2\\parent.exe", command_line="parent /a"),
        start(
            T - SECOND, parent_pid=5, session_id=3, sid=SYSTEM_SID, command_line="target /b",
            image="\\Device\\HarddiskVolume2\\target.exe", create_time=T - SECOND - 7,
        ),
    )  # fmt: skip
    target = found.target
    assert (target.image, target.command_line) == ("C:\\target.exe", "target /b")
    assert (target.user, target.session_id, target.start_time) == ("NT AUTHORITY\\SYSTEM", 3, T - SECOND - 7)
    assert (target.parent_pid, target.parent_image, target.parent_command_line) == (
        5,
        "C:\\parent.exe",
        "parent /a",
    )
    assert found.host == "HOST1"
    assert not [field for field, _ in found.absent if field.startswith("Target")]


def test_what_is_not_told_is_absent_and_says_why():
    found = detected(start(T - SECOND, parent_pid=5))
    assert why(found, "SourceImage") == "the trace does not tell of this process"
    assert why(found, "TargetCommandLine") == "the trace does not tell"
    assert why(found, "TargetParentImage") == "the trace does not tell which process that was"
    assert why(found, "Computer") == "the trace does not tell"
    assert why(detected(listed()), "TargetProcessGuid") == "its start time is not known"
    assert why(detected(listed(session_id=0xFFFFFFFF)), "TargetTerminalSessionId") == "it belongs to no session"
    assert why(detected(source="the system"), "SourceImage") == "the system does not tell of this process"


def test_what_comes_later_of_the_same_process_counts():
    assert detected(start(T - SECOND), listed(time=T + SECOND, session_id=7)).target.session_id == 7


def test_another_process_with_the_id_does_not_count():
    found = detected(start(T - SECOND), ProcessStop(T + 1, TARGET), start(T + 2, image="other.exe", session_id=7))
    assert (found.target.image, found.target.session_id) == ("target.exe", None)


def test_a_process_that_exited_at_the_tick_of_the_hit_is_still_known():
    assert detected(start(T - SECOND, CREATOR), ProcessStop(T, CREATOR)).source.image == "target.exe"


def test_a_guid_tells_processes_machines_and_seconds_apart():
    one = detected(start(T - SECOND), host="HOST1").target.guid
    assert one == detected(start(T - SECOND), host="host1").target.guid
    assert one != detected(start(T - SECOND), host="HOST2").target.guid
    assert one != detected(start(T - SECOND + 1), host="HOST1").target.guid
    assert detected(start(T - SECOND), machine="HOST1").target.guid == one


# -- the start


def test_a_start_lies_in_the_targets_image():
    found = detected(
        load(T - 5, pid=CREATOR, path="creators.dll"),
        load(T - 5, path="\\Device\\HarddiskVolume2\\Windows\\System32\\ntdll.dll"),
        VolumeMapping(1, "\\Device\\HarddiskVolume2", "C:"),
    )
    assert (found.start.module, found.start.offset) == ("C:\\Windows\\System32\\ntdll.dll", 0x1234)
    assert why(found, "StartFunction") == "no file: no image files were given"


def test_an_image_soon_after_the_start_counts_and_a_later_one_does_not():
    assert detected(load(T + GRACE_PERIOD)).start.module == NTDLL
    assert detected(load(T + GRACE_PERIOD + 1)).start.module is None


def test_an_image_that_came_and_went_soon_after_the_start_counts():
    """Windows 8 and later tell of a process's images going before they tell of its exit."""
    born = start(T - 1)
    gone = ImageUnload(T + GRACE_PERIOD // 2, TARGET, BASE, 0x10000, NTDLL)
    ended = ProcessStop(T + GRACE_PERIOD // 2 + 1, TARGET)
    assert (
        detected(born, load(T + 1), gone, ended, load(T + GRACE_PERIOD, BASE, path="b.dll")).start.module == NTDLL
    )
    assert detected(born, load(T - 1), gone._replace(time=T - 1), load(T + GRACE_PERIOD + 1)).start.module is None
    late = load(T + GRACE_PERIOD + 1), gone._replace(time=T + GRACE_PERIOD + 2), load(T + GRACE_PERIOD + 3)
    assert detected(born, *late).start.module is None


def test_an_image_that_was_unmapped_before_does_not_count_and_one_unmapped_after_does():
    unmapped = ImageUnload(T - 1, TARGET, BASE, 0x10000)
    assert detected(load(T - 5), unmapped).start.module is None
    assert detected(load(T - 5), unmapped._replace(time=T + 1)).start.module == NTDLL


def test_the_images_of_an_earlier_process_do_not_count():
    assert detected(load(T - 50), ProcessStop(T - 40, TARGET), load(T - 30, 0x10000)).start.module is None
    assert detected(load(T - 50), start(T - 40)).start.module is None


def test_a_start_outside_of_all_images_is_said_only_where_all_are_known():
    other = load(T - 5, base=0x10000)
    no_images = "the trace does not tell of the target's images"
    assert why(detected(start(T - 9)), "StartModule") == no_images
    assert why(detected(listed()), "StartModule") == no_images
    assert why(detected(start(T - 9), other), "StartModule") == OUTSIDE
    assert why(detected(listed(), other._replace(rundown=True)), "StartModule") == OUTSIDE
    assert "only, as the target is older" in why(detected(listed(), other), "StartModule")
    assert "may not be all" in why(detected(Loss(1, 3), start(T - 9), other), "StartModule")
    assert detected(start(T - 9), other).kind == "start outside any image"


def test_a_listing_at_the_hit_is_worth_more_than_a_loss_before_it():
    listing = load(T, base=0x10000, rundown=True)
    assert why(detected(Loss(1, 3), listed(), listing), "StartModule") == OUTSIDE


def test_an_image_listed_or_unmapped_later_was_there_if_the_process_was():
    for later in (load(T + 99 * SECOND, rundown=True), ImageUnload(T + 99 * SECOND, TARGET, BASE, 0x10000, NTDLL)):
        assert detected(later, prescanned=[later]).start.module == NTDLL
        reused = start(T + 50 * SECOND)
        assert detected(reused, later, prescanned=[reused, later]).start.module is None
        before = start(T - SECOND)
        assert detected(before, later, prescanned=[before, later]).start.module is None


def test_a_start_in_the_kernel_lies_in_the_kernels_image():
    address = 0xFFFF_F800_0000_1000
    kernel = load(1, address - 0x1000, path="\\SystemRoot\\system32\\ntoskrnl.exe", pid=0)
    found = detected(kernel, hit=HIT._replace(start_address=address))
    assert (found.start.module, found.kind) == ("\\SystemRoot\\system32\\ntoskrnl.exe", "kernel-mode start")
    assert detected(hit=HIT._replace(start_address=address)).kind == "kernel-mode start"


def test_an_address_that_is_nobodys_is_not_outside_of_the_images():
    """The threads of LsaIso.exe have such."""
    found = detected(start(T - 9), load(T - 5), hit=HIT._replace(start_address=0x0123_4567_89AB_CDEF))
    assert found.kind is None
    assert why(found, "StartModule") == "the trace tells of no image of the kernel there"


def test_on_32_bits_an_address_of_the_third_gib_may_be_the_programs_or_the_kernels():
    """Windows can be told to leave the kernel one GiB of four only."""
    address = 0x8000_1234
    of_both = {"pointer_size": 4, "hit": HIT._replace(start_address=address)}
    program, kernel = (
        load(1, address - 4, size=8),
        load(1, address - 4, size=8, path="\\SystemRoot\\ntos.exe", pid=0),
    )
    assert detected(start(1), program, **of_both).start.offset == 4
    assert detected(start(1), kernel, **of_both).start.module == "\\SystemRoot\\ntos.exe"
    unknown = detected(start(1), load(1, 0x1000, size=8), **of_both)
    assert (unknown.kind, unknown.severity) == (None, "medium")
    assert why(unknown, "StartModule") == "the trace tells of no image of the kernel there"
    surely = {"pointer_size": 4, "hit": HIT._replace(start_address=0xC000_0000)}
    assert detected(start(1), **surely).kind == "kernel-mode start"


def test_without_a_start_address_nothing_is_known_of_the_start():
    found = detected(hit=HIT._replace(start_address=None), source="the driver", detector="driver")
    assert why(found, "StartAddress") == "the driver does not tell"
    assert why(found, "StartModule") == "the start address is not known"


def test_an_image_without_a_name_gives_an_offset_and_no_module():
    found = detected(load(T - 5, path=None))
    assert (found.start.module, found.start.offset) == (None, 0x1234)
    assert why(found, "StartModule") == "the trace does not tell the image's name"


def test_where_system_starts_threads_in_several_processes_is_a_thread_pool():
    workers = [ThreadStart(5, 4, 1, pid, 9, ADDRESS) for pid in (300, 301)]
    for told in ({"prescanned": workers}, {}):
        assert detected(load(T - 5), *workers, **told).kind == "thread-pool worker"
    assert detected(load(T - 5), *workers[:1] * 2).kind is None


def test_what_two_processes_do_at_once_is_held_apart_and_comes_in_order():
    enricher = Enricher()
    for event in load(1), load(1, pid=30, path="other.dll"):
        enricher.observe(event)
    enricher.add(HIT)
    enricher.add(HIT._replace(time=T + 1, pid=30))
    assert list(enricher.take(T + GRACE_PERIOD - 1)) == []
    assert [found.start.module for found in enricher.take(T + GRACE_PERIOD)] == [NTDLL]
    assert [found.start.module for found in enricher.take()] == ["other.dll"]


# -- a source that is asked, and has no events


def asked(enricher, hit, create_time, image):
    enricher.observe(ProcessRundown(hit.time, hit.pid, create_time=create_time, image=image))
    enricher.observe(load(hit.time, path=f"{image}.dll", pid=hit.pid, rundown=True))


def test_an_answer_with_another_start_time_is_of_another_process():
    enricher = Enricher("driver", source="the system")
    for hit, create_time, image in ((HIT, 5, "a"), (HIT._replace(time=2 * T), T + 5 * SECOND, "b")):
        asked(enricher, hit, create_time, image)
        enricher.add(hit)
    assert [(found.target.image, found.start.module) for found in enricher.take()] == [
        ("a", "a.dll"),
        ("b", "b.dll"),
    ]


def test_a_process_that_is_gone_is_not_taken_for_an_earlier_one():
    enricher = Enricher("driver", source="the system")
    asked(enricher, HIT, 5, "a")
    enricher.add(HIT)
    enricher.observe(ProcessStop(0, TARGET))
    enricher.add(HIT._replace(time=2 * T))
    assert [found.target.image for found in enricher.take()] == ["a", None]


def test_what_is_known_need_not_be_asked():
    enricher = Enricher()
    enricher.observe(start(T - 5))
    assert enricher.knows(TARGET, T)
    assert not enricher.knows(CREATOR, T)


# -- anything


PIDS = st.sampled_from((0, 4, CREATOR, TARGET, 30))
TIMES = st.integers(0, 60).map(lambda ticks: ticks * SECOND // 4)
NAMES = st.none() | st.sampled_from(("a.exe", "b.exe", "\\Device\\V\\a.exe"))
BASES = st.integers(0, 6).map(lambda page: page << 12)
SIZES = st.integers(0, 3).map(lambda page: page << 12)
SIDS = st.none() | st.binary(max_size=12)
OPTIONAL = st.none() | st.integers(0, 3)
ANY_EVENT = st.one_of(
    st.builds(ProcessStart, TIMES, PIDS, st.just(1), PIDS, PIDS, OPTIONAL, OPTIONAL, SIDS, NAMES, NAMES),
    st.builds(ProcessRundown, TIMES, PIDS, PIDS, OPTIONAL, OPTIONAL, SIDS, NAMES, NAMES),
    st.builds(ProcessStop, TIMES, PIDS),
    st.builds(ThreadStart, TIMES, PIDS, st.just(1), PIDS, st.just(2), BASES),
    st.builds(ImageLoad, TIMES, PIDS, BASES, SIZES, OPTIONAL, OPTIONAL, NAMES, st.booleans()),
    st.builds(ImageUnload, TIMES, PIDS, BASES, SIZES, NAMES),
)  # fmt: skip


@given(st.lists(ANY_EVENT, max_size=30))
def test_every_remote_thread_becomes_one_detection_in_order_whatever_was_told(events):
    events.sort(key=lambda event: event.time)
    enricher, hits, found = Enricher(), [], []
    for event in events:
        enricher.prescan(event)
    for event in events:
        enricher.observe(event)
        if isinstance(event, ThreadStart):
            hits.append(RemoteThread(*event[:6]))
            enricher.add(hits[-1])
        found += enricher.take(event.time)
    found += enricher.take()
    assert [each.thread._replace(evidence=()) for each in found] == hits
    for each in found:
        absent = dict(each.absent)
        assert (each.source.image is None) == ("SourceImage" in absent)
        assert (each.target.parent_pid is None) == ("TargetParentProcessId" in absent)
        assert (each.start.module is None) == ("StartModule" in absent)
        assert (each.start.offset is None) == ("StartModuleOffset" in absent)
        assert (each.start.function is None) == ("StartFunction" in absent)


@pytest.mark.slow
def test_memory_is_bounded_however_many_images_there_are():
    enricher = Enricher()
    for pid in range(400):
        for number in range(1_000):
            enricher.observe(load(pid + 1, base=number << 20, pid=pid, path="a.dll"))
    running = enricher._processes._running
    assert sum(len(running[pid].modules) for pid in running) <= 256 << 10
    assert len(pickle.dumps(enricher._processes)) < 40 << 20


# -- what was known, and forgotten for want of room


def forgetting(monkeypatch, bound=2):
    monkeypatch.setattr(process_tracker.ProcessTracker.__init__, "__defaults__", (bound,))


def test_what_was_forgotten_for_want_of_room_is_said_to_be_forgotten(monkeypatch):
    forgetting(monkeypatch)
    others = [start(T - 5 + number, pid=100 + number) for number in range(2)]
    found = detected(start(T - 9), load(T - 8), *others)
    assert found.target.image is None
    for field in ("TargetImage", "TargetUser", "TargetStartTime", "TargetParentImage", "StartModule"):
        assert why(found, field) == FORGOTTEN, field
    assert why(found, "SourceImage") == "the trace does not tell of this process"


def test_an_id_used_again_after_it_was_forgotten_is_another_process(monkeypatch):
    forgetting(monkeypatch)
    others = [start(T - 8 + number, pid=100 + number) for number in range(2)]
    for end in (start(T - 2, image=None), ProcessStop(T - 2, TARGET)):
        assert "forgotten" not in str(detected(start(T - 9), *others, end).absent)


def test_a_parent_that_was_forgotten_is_said_to_be(monkeypatch):
    forgetting(monkeypatch)
    others = [start(T - 8 + number, pid=100 + number) for number in range(2)]
    found = detected(start(T - 9, pid=5), *others, start(T - 2, parent_pid=5))
    assert (found.target.image, found.target.parent_image) == ("target.exe", None)
    assert why(found, "TargetParentImage") == FORGOTTEN
    assert why(found, "TargetUser") == "the trace does not tell"


def test_beyond_all_that_can_be_remembered_anything_may_have_been_forgotten(monkeypatch):
    forgetting(monkeypatch)
    others = [start(T - 20 + number, pid=100 + number) for number in range(9)]
    assert why(detected(*others), "TargetImage") == PERHAPS_FORGOTTEN


def test_a_name_to_come_is_not_given_where_starts_were_forgotten(monkeypatch):
    """One of those may have been the start of another process with this id."""
    forgetting(monkeypatch)
    later = listed(time=T + 99 * SECOND)
    starts = [start(T + 50 * SECOND + number, pid=pid) for number, pid in enumerate((TARGET, 100, 101, 102))]
    found = detected(later, prescanned=[*starts, later])
    assert found.target.image is None
    assert why(found, "TargetImage") == PERHAPS_FORGOTTEN


# -- events that name one process differently


def renamed(*events, **options):
    return detected(*events, **options).thread.evidence == ("renamed",)


OTHER_NAMES = [
    start(T - 50, image="evil.exe"),
    listed(time=T - 50, image="evil.exe"),
    ProcessStop(T + 50, TARGET, image="evil.exe"),
    listed(time=T + 50, image="evil.exe"),
    start(T + 50, image="evil.exe"),
]


@pytest.mark.parametrize("known", [start(T - 5 * SECOND), listed(time=T - 5 * SECOND)], ids=["started", "listed"])
@pytest.mark.parametrize("other", OTHER_NAMES, ids=lambda event: f"{type(event).__name__} {event.time - T}")
def test_another_name_for_a_process_that_did_not_exit_is_evidence_on_its_hits(known, other):
    assert renamed(known, other)
    assert not renamed(known, other._replace(image="target.exe"))
    assert not renamed(known, other._replace(image="\\Device\\HarddiskVolume4\\TARGET.exe"))
    assert not renamed(known, other._replace(pid=CREATOR + 500))


def test_a_later_listing_or_exit_that_was_seen_ahead_of_time_is_evidence_too():
    for later in listed(time=T + 99 * SECOND, image="b.exe"), ProcessStop(T + 99 * SECOND, TARGET, image="b.exe"):
        known = listed(time=T - SECOND, image="a.exe")
        enricher = Enricher()
        enricher.prescan(later)
        enricher.observe(known)
        enricher.add(HIT)
        assert [found.thread.evidence for found in enricher.take()] == [("renamed",)]


def test_another_name_after_an_exit_is_of_another_process():
    found = detected(start(T - 9), ProcessStop(T - 8, TARGET), start(T - 7, image="evil.exe"))
    assert (found.target.image, found.thread.evidence) == ("evil.exe", ())


def test_where_names_contradict_no_kind_rests_on_the_creators():
    csrss = "\\Windows\\System32\\csrss.exe"
    known = start(T - 9 * SECOND, pid=CREATOR, image="\\Users\\evil.exe")
    forged = listed(CREATOR, T - SECOND, image=csrss)
    assert detected(forged).kind == "console control"
    found = detected(known, forged)
    assert (found.kind, found.severity, found.thread.evidence) == (None, "medium", ("renamed",))
    assert "name its source or its target differently" in why(found, "Kind")


def test_events_that_rename_are_counted():
    enricher = Enricher()
    for event in start(1), listed(time=2, image="b.exe"), listed(time=3, image="b.exe"), ProcessStop(4, TARGET):
        enricher.observe(event)
    assert enricher.contradictions == {"renamed": 1}
