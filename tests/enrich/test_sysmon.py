"""What Sysmon recorded becomes detections, with what the other events say."""

import itertools
import random

import pytest

from etwdetect.core.order import Sorter
from etwdetect.core.sysmon import (
    DeferredAccess,
    SysmonAccess,
    SysmonExit,
    SysmonImage,
    SysmonProcess,
    SysmonStart,
    SysmonThread,
)
from etwdetect.enrich import sysmon
from etwdetect.enrich.prior_access import ACCESS_WINDOW
from etwdetect.enrich.sysmon import SysmonEnricher
from etwdetect.results import record
from etwdetect.results.formats.sysmon import event_data

TIME = 132_478_044_564_580_000
MS = 10_000
SOURCE = SysmonProcess(100, "AAAA-1", "C:\\source.exe")
TARGET = SysmonProcess(200, "AAAA-2", "C:\\target.exe")
THREAD = SysmonThread(TIME, "WS", SOURCE, TARGET, 300, 0x7FF0_0000_1000, 8, "C:\\ntdll.dll", None, None)
START = SysmonStart(
    TIME - 50 * MS, "WS", SOURCE._replace(user="LAB\\me"), "source -x", 1, SysmonProcess(4, None, "p.exe"), "p"
)
ACCESS = SysmonAccess(TIME - 5 * MS, "WS", SOURCE, TARGET, "0x1FFFFF", "C:\\ntdll.dll+1")


def detections(*records):
    enricher = SysmonEnricher()
    for each in records:
        enricher.observe(each)
    return list(enricher.detections())


def detection(*records):
    (found,) = detections(*records)
    return found


def test_a_thread_is_a_detection_without_a_source_thread_and_without_evidence():
    found = detection(THREAD)
    assert found.thread == (TIME, 100, None, 200, 300, 0x7FF0_0000_1000, ())
    assert (found.detector, found.host, found.source.image) == ("sysmon", "WS", "C:\\source.exe")
    assert dict(found.absent)["SourceThreadId"] == "Sysmon does not tell"
    assert record.from_json(record.to_json(found)) == found


@pytest.mark.parametrize("order", ["forwards", "backwards"])
def test_the_start_of_a_process_gives_its_command_line_parent_user_and_start_time(order):
    records = (START, ACCESS, THREAD)
    found = detection(*(records if order == "forwards" else reversed(records)))
    source = found.source
    assert (source.command_line, source.user, source.session_id) == ("source -x", "LAB\\me", 1)
    assert (source.start_time, source.parent_pid, source.parent_image) == (TIME - 50 * MS, 4, "p.exe")
    assert dict(found.absent)["TargetCommandLine"] == "the recording has no event 1 of this process"
    assert dict(found.prior_access) == {
        "UtcTime": "2020-10-22 01:40:56.453",
        "GrantedAccess": "0x1FFFFF",
        "CallTrace": "C:\\ntdll.dll+1",
    }
    assert found.thread.evidence == ()


@pytest.mark.parametrize(
    "other",
    [
        ACCESS._replace(time=TIME + 1),
        ACCESS._replace(time=TIME - ACCESS_WINDOW - 1),
        ACCESS._replace(source=TARGET, target=SOURCE),
        ACCESS._replace(host="OTHER"),
        ACCESS._replace(source=SOURCE._replace(guid="AAAA-9")),
    ],
)
def test_an_access_later_long_before_or_of_another_pair_is_not_told(other):
    assert detection(other, THREAD).prior_access == ()
    assert detection(THREAD, other).prior_access == ()


@pytest.mark.parametrize("order", ["forwards", "backwards"])
def test_a_deferred_access_is_loaded_for_its_pair_alone(order):
    loaded = []

    def deferred(access):
        pair = "WS", access.source.guid, access.target.guid
        return DeferredAccess(access.time, pair, 10, lambda: (loaded.append(access), access)[1])

    other = ACCESS._replace(source=SOURCE._replace(guid="AAAA-9"))
    earlier = ACCESS._replace(time=ACCESS.time - MS, granted="0x1")
    records = (deferred(other), deferred(earlier), deferred(ACCESS), THREAD)
    found = detection(*(records if order == "forwards" else reversed(records)))
    assert dict(found.prior_access)["GrantedAccess"] == "0x1FFFFF"
    assert other not in loaded
    assert (
        detection(DeferredAccess(ACCESS.time, ("WS", "AAAA-1", "AAAA-2"), 10, lambda: None), THREAD).prior_access
        == ()
    )


def test_of_several_accesses_the_last_before_the_thread_is_told():
    accesses = [ACCESS._replace(time=TIME - each * MS, granted=f"0x{each}") for each in (9, 7, 0, 3, 5)]
    later = ACCESS._replace(time=TIME + MS)
    assert dict(detection(*accesses, later, THREAD).prior_access)["GrantedAccess"] == "0x0"


@pytest.mark.parametrize("event", [SysmonExit(TIME, "WS", TARGET), SysmonImage(TIME, "WS", TARGET, "x.dll")])
def test_other_events_name_a_process_that_event_8_does_not_know(event):
    unknown = THREAD._replace(target=TARGET._replace(image=None))
    assert detection(event, unknown).target.image == "C:\\target.exe"
    assert detection(unknown).target.image is None


def test_without_a_guid_the_process_that_ran_with_the_id_is_taken():
    early = START._replace(time=TIME - 900 * MS, command_line="early", process=SOURCE._replace(guid="AAAA-0"))
    thread = THREAD._replace(source=SysmonProcess(100))
    gone = SysmonExit(TIME - MS, "WS", SOURCE)
    assert detection(early, START, thread).source.command_line == "source -x"
    assert detection(early, START, gone, thread).source.command_line is None
    assert detection(early, START, thread._replace(time=TIME - 100 * MS)).source.command_line == "early"
    assert detection(thread._replace(host="OTHER"), START).source.command_line is None


@pytest.mark.parametrize("started_as", [SOURCE, SysmonProcess(100)])
def test_an_exit_without_a_guid_ends_the_process_that_last_started_with_its_id(started_as):
    early = START._replace(process=started_as)
    gone = SysmonExit(TIME - 20 * MS, "WS", SysmonProcess(100))
    thread = THREAD._replace(source=SysmonProcess(100))
    late = early._replace(time=TIME - 10 * MS, command_line="late", process=SysmonProcess(100))
    for order in itertools.permutations((early, gone, thread)):
        assert detection(*order).source.command_line is None
    for order in itertools.permutations((early, gone, late, thread)):
        assert detection(*order).source.command_line == "late"
    assert detection(early, gone, thread._replace(time=gone.time)).source.command_line == "source -x"


@pytest.mark.parametrize("order", ["forwards", "backwards"])
def test_of_an_id_that_many_processes_had_no_start_but_the_last_before_the_thread_is_taken(order):
    starts = [
        START._replace(time=TIME + each * MS, command_line=str(each), process=SysmonProcess(100))
        for each in range(100)
    ]
    threads = [THREAD._replace(time=TIME + each * MS, source=SysmonProcess(100)) for each in (5, 95)]
    records = (*starts, *threads)
    found = detections(*(records if order == "forwards" else reversed(records)))
    assert [each.source.command_line for each in found] == [None, "95"]


def test_detections_come_in_the_order_of_time_and_each_with_its_own_values(monkeypatch):
    monkeypatch.setattr(sysmon, "Sorter", lambda key: Sorter(key, 4))  # most go to a temporary file
    threads = [
        THREAD._replace(time=TIME + each // 2 * MS, tid=each, rule_name=str(each), start_address=each % 3)
        for each in range(20)
    ]
    shuffled = random.Random(1).sample(threads, 20)
    found = detections(ACCESS, *shuffled)
    assert [(each.thread.time, each.thread.tid, each.rule_name, each.thread.start_address) for each in found] == [
        (each.time, each.tid, each.rule_name, each.start_address)
        for each in sorted(shuffled, key=lambda thread: thread.time)  # those of one time as they came
    ]
    assert {dict(each.prior_access)["CallTrace"] for each in found} == {ACCESS.call_trace}


def test_an_address_in_no_module_is_outside_and_one_in_a_module_has_no_export():
    outside = detection(THREAD._replace(start_module=None))
    assert (outside.kind, outside.severity) == ("start outside any image", "high")
    inside = detection(THREAD)
    assert dict(inside.absent)["StartFunction"] == "no function is exported from this address"
    kernel = detection(THREAD._replace(start_module=None, start_address=0xFFFF_F800_0000_1000))
    assert kernel.kind == "kernel-mode start"


def test_the_memory_for_other_events_is_bounded_and_what_is_forgotten_is_counted(monkeypatch):
    monkeypatch.setattr(sysmon, "_MAX_TEXT", 1000)
    enricher = SysmonEnricher()
    for each in range(100):
        process = SysmonProcess(each, f"G-{each}", "i.exe")
        enricher.observe(START._replace(process=process, command_line="x" * 90))
    assert enricher.forgotten > 80


def test_the_sysmon_format_has_the_rule_of_sysmon_and_behind_it_those_of_sigma():
    found = detection(THREAD._replace(rule_name="T1055"))
    assert event_data(found)["RuleName"] == "T1055"
    sigma = record.from_json(record.to_json(found).replace('"Evidence"', '"Sigma": ["One"], "Evidence"'))
    assert event_data(sigma)["RuleName"] == "T1055; One"
