"""What a fleet tells with names is what a scan of the same events tells, without Spark."""

import io

import pytest

from etwdetect.core.events import (
    CallStack,
    Contradiction,
    ImageLoad,
    ImageUnload,
    ProcessRundown,
    ProcessStart,
    ProcessStop,
    ThreadStart,
)
from etwdetect.enrich.enricher import GRACE_PERIOD
from etwdetect.fleet.results import record_of
from etwdetect.fleet.two_pass import JUDGE, PRESCAN, judge_in_two_passes
from etwdetect.offline import Scan
from etwdetect.offline.inputs import find_inputs
from etwdetect.sources.eventdata.jsonl import JsonLinesWriter
from etwdetect.sources.eventdata.schema import COLUMNS, Recording, RecordingStart, to_row
from tests.fleet.histories import SECOND, T0

HERE = Recording("H", "1")
START = RecordingStart(T0, T0)
STARTED = T0 + 60 * SECOND
NAMES = (*(column.name for column in COLUMNS), "file", "offset", "fault")


def scanned(tmp_path, events):
    text = io.StringIO()
    writer = JsonLinesWriter(text)
    writer.begin(HERE, START)
    for event in events:
        writer.write(event)
    path = tmp_path / "events.jsonl"
    path.write_text(text.getvalue())
    (found,) = find_inputs(path)
    with found.open() as trace:
        return [record_of(detection) for detection in Scan([trace]).detections()]


def named(events, drives=()):
    rows = [to_row(HERE, seq, event) for seq, event in enumerate((START, *events))]
    rows = [dict.fromkeys(NAMES) | row | {"phase": phase} for phase in (PRESCAN, JUDGE) for row in rows]
    own = {"host", "recording", "seq"}
    return [
        {name: value for name, value in row.items() if name not in own}
        for row in judge_in_two_passes(rows, drives)
    ]


@pytest.mark.parametrize("late", [-1, 0, 1])
def test_images_that_come_just_as_a_hit_settles_tell_as_much_as_in_a_scan(tmp_path, late):
    time = STARTED + GRACE_PERIOD + late
    events = [
        ProcessRundown(T0 + 1, 10, create_time=T0 - 1, image="a.exe"),
        ProcessRundown(T0 + 1, 20, create_time=T0 - 1, image="b.exe"),
        ThreadStart(STARTED, 10, 11, 20, 21, 0x7FF0_0000_1000),
        ImageLoad(time, 10, 0x7FF1_0000_0000, 0x10000, image="C:\\other.dll"),
        ImageLoad(time, 20, 0x7FF0_0000_0000, 0x10000, image="C:\\late.dll"),
        ThreadStart(time + GRACE_PERIOD, 10, 11, 20, 22, 0x7FF0_0000_1000),
    ]
    expected = scanned(tmp_path, events)
    assert len(expected) == 2
    assert named(events) == expected


def test_names_from_the_end_of_a_recording_its_drives_and_containers_are_those_of_a_scan(tmp_path):
    end, windows = STARTED + 60 * SECOND, "\\Device\\HarddiskVolume3\\Windows\\System32\\"
    events = [
        ThreadStart(STARTED, 10, 11, 20, 21, 0x7FF0_0000_1000, "0f5fb4d8-0c1a-4f2b-9f6a-000000000001"),
        ImageUnload(STARTED + SECOND, 10, 0x1000, 0x1000, "\\Device\\HarddiskVolume3\\Users\\u\\injector.scr"),
        ProcessStop(STARTED + SECOND, 10, 5, 1, sid=bytes(8), image="injector.scr", command_line="injector /x"),
        ProcessRundown(end, 20, image="lsass.exe"),
        ImageLoad(end + 1, 20, 0x2000, 0x1000, image=windows + "lsass.exe", rundown=True),
    ]
    (found,) = named(events)
    assert [found] == scanned(tmp_path, events)
    assert (found["SourceImage"], found["TargetImage"]) == (
        "C:\\Users\\u\\injector.scr",
        "C:\\Windows\\System32\\lsass.exe",
    )
    assert (found["SourceCommandLine"], found["AssumedDrive"]) == ("injector /x", "C:=\\Device\\HarddiskVolume3")
    assert found["Container"] == "0f5fb4d8-0c1a-4f2b-9f6a-000000000001"
    (given,) = named(events, (("\\Device\\HarddiskVolume3", "D:"),))
    assert (given["TargetImage"], "AssumedDrive" in given) == ("D:\\Windows\\System32\\lsass.exe", False)


def test_a_first_thread_that_a_second_start_may_have_hidden_is_a_fault_here_too():
    events = [
        ThreadStart(STARTED, 20, 21, 20, 22),
        ProcessStart(STARTED + 1, 8, 9, 20),
        Contradiction(STARTED + 1, "second-start", 20),
        ThreadStart(STARTED + 2, 8, 9, 20, 23),
    ]
    (fault,) = named(events)
    assert "thread 23 in process 20, made by process 8" in fault["fault"]


def test_call_stacks_are_those_of_a_scan(tmp_path):
    events = [
        ProcessRundown(T0 + 1, 10, create_time=T0 - 1, image="a.exe"),
        ImageLoad(T0 + 2, 10, 0x7FF1_0000_0000, 0x10000, image="C:\\a.dll", rundown=True),
        CallStack(STARTED, 10, 11, (0xFFFF_F800_0000_1000,), (0x7FF1_0000_0012, 0x1_2345)),
        ThreadStart(STARTED, 10, 11, 20, 21, 0x7FF0_0000_1000),
    ]
    (found,) = named(events)
    assert [found] == scanned(tmp_path, events)
    assert found["CallTrace"] == "C:\\a.dll+12|UNKNOWN(0000000000012345)"
    assert (found["CallSummary"], found["Severity"]) == ("a.dll|Unbacked", "high")


def test_a_creator_with_another_start_key_is_another_process_as_in_a_scan(tmp_path):
    first = ThreadStart(STARTED, 10, 11, 20, 21, 0x7FF0_0000_1000, creator_key=5)
    events = [
        ProcessRundown(T0 + 1, 10, create_time=T0 - 1, image="a.exe", sequence=7),
        ImageLoad(T0 + 2, 10, 0x7FF1_0000_0000, 0x10000, image="C:\\a.exe", rundown=True),
        first,
        first._replace(time=STARTED + SECOND, tid=22, creator_key=6),
        ImageLoad(STARTED + 2 * SECOND, 10, 0x7FF1_0000_0000, 0x10000, image="C:\\b.exe"),
        CallStack(STARTED + 3 * SECOND, 10, 11, user_frames=(0x7FF1_0000_0012,)),
        first._replace(time=STARTED + 3 * SECOND, tid=23, creator_key=6),
    ]
    found = named(events)
    assert found == scanned(tmp_path, events)
    assert [each.get("SourceImage") for each in found] == ["C:\\a.exe", None, None]
    assert found[2]["CallTrace"] == "C:\\b.exe+12"
