"""`etwdetect monitor --stacks`: the stacks of thread starts, as Windows hands them over with the events."""

import json
from struct import pack

from etwdetect.core.events import ImageLoad, ProcessStart, ThreadStart
from etwdetect.core.raw import EVENT_TRACING, RawEvent
from etwdetect.live.clock import filetime_now
from etwdetect.live.stacks import LATE
from etwdetect.sources.decode.encode import encode
from etwdetect.sources.eventdata.schema import from_row
from parity_tests.simulators.simetw import Call
from tests.running import until

ATTACKER, THREAD, VICTIM = 400_004, 400_012, 400_008  # which no process of this Wine has
KERNEL = 0xFFFF_F802_16C1_3000, 0xFFFF_F802_16C1_0053
NTDLL = 0x7FFC_0000_0000
USER = NTDLL + 0x36BB, 0x1A2_B3C4_D5E6
ATTACKER_STARTS = [
    encode(ProcessStart(0, 1, 2, ATTACKER, 1, image="\\Device\\HarddiskVolume3\\evil.exe")),
    encode(ThreadStart(0, 1, 2, ATTACKER, THREAD)),
    encode(
        ImageLoad(0, ATTACKER, NTDLL, 0x10000, 1, 1, "\\Device\\HarddiskVolume3\\Windows\\System32\\ntdll.dll")
    ),
]


def item(frames, match=0):
    return 6, pack(f"<Q{len(frames)}Q", match, *frames)


def thread(tid, *stacks):
    return encode(ThreadStart(0, ATTACKER, THREAD, VICTIM, tid, 0x7FF6_1234_5678))._replace(stacks=stacks)


def user_part(match, frames):
    return RawEvent(EVENT_TRACING, 18, 0, 0, 0, ATTACKER, THREAD, 8, b"", stacks=(item(frames, match),))


def records(watching):
    status, lines, _ = watching.stop()
    assert status == 0
    return [json.loads(line) for line in lines]


def test_a_stack_that_comes_with_its_event_is_in_the_record(machine, monitor):
    watching = monitor("--stacks", "--format", "json")
    machine.log(ATTACKER_STARTS)
    machine.log([thread(1, item(KERNEL + USER))])
    (found,) = records(watching)
    assert found["CallTrace"].endswith("\\Windows\\System32\\ntdll.dll+36bb|UNKNOWN(000001A2B3C4D5E6)")
    assert found["CallKernel"] == "UNKNOWN(FFFFF80216C13000)|UNKNOWN(FFFFF80216C10053)"
    assert found["CallSummary"] == "ntdll.dll|Unbacked"
    assert found["Severity"] == "high"


def test_a_user_part_that_comes_alone_is_joined_by_its_match(machine, monitor):
    watching = monitor("--stacks", "--format", "json")
    machine.log(ATTACKER_STARTS)
    machine.log([thread(1, item(KERNEL, 77)), user_part(78, USER[1:]), user_part(77, USER)])
    (found,) = records(watching)
    assert found["CallSummary"] == "ntdll.dll|Unbacked"


def test_a_user_part_that_does_not_come_in_time_is_late(machine, monitor):
    watching = monitor("--stacks", "--format", "json")
    machine.log([thread(1, item(KERNEL, 77))])
    found = json.loads(watching.line())
    machine.log([user_part(77, USER)])
    assert found["Absent"]["CallTrace"] == LATE
    assert "CallTrace" not in found
    assert watching.stop()[0] == 0


def test_a_creator_with_another_start_key_has_not_the_name_of_the_one_before(machine, monitor):
    watching = monitor("--stacks", "--format", "json")
    own = encode(ThreadStart(0, ATTACKER, THREAD, ATTACKER, 400_016))
    machine.log([*ATTACKER_STARTS, own._replace(stacks=((13, pack("<Q", 5)),))])
    machine.log([thread(1, item(KERNEL), (13, pack("<Q", 5))), thread(2, item(KERNEL), (13, pack("<Q", 6)))])
    same, another = records(watching)
    assert same["SourceImage"].endswith("evil.exe")
    assert "SourceImage" not in another


def test_without_the_option_no_stack_is_asked_for(machine, monitor):
    watching = monitor("--format", "json")
    machine.log([thread(1, item(KERNEL + USER))])
    (found,) = records(watching)
    assert not any(name.startswith("Call") for name in (*found, *found["Absent"]))


def test_the_line_has_the_stack_too(machine, monitor):
    watching = monitor("--stacks")
    machine.log([thread(1, item(KERNEL))])
    assert "stack: not there; in the kernel: UNKNOWN(FFFFF80216C13000) <" in watching.line()
    assert watching.stop()[0] == 0


def test_the_events_have_the_stack_before_its_thread_start(machine, monitor, tmp_path):
    watching = monitor("--stacks", "--events", tmp_path / "events.jsonl")
    now = filetime_now()
    machine.log([thread(1, item(KERNEL + USER))._replace(time=now)])
    assert watching.stop()[0] == 0
    rows = [
        from_row(json.loads(line)).event for line in (tmp_path / "events.jsonl").read_text("utf-8").splitlines()
    ]
    (at,) = (at for at, event in enumerate(rows) if isinstance(event, ThreadStart) and event.tid == 1)
    assert rows[at - 1][1:5] == (ATTACKER, THREAD, KERNEL, USER)


def test_where_windows_refuses_stacks_the_monitor_goes_on_and_says_so(machine, monitor):
    machine.fail(Call.ENABLE, 87)
    watching = monitor("--stacks")
    machine.log([thread(1, item(KERNEL))])
    status, lines, errors = watching.stop()
    assert (status, len(lines)) == (0, 1)
    assert "Windows gives no call stacks of thread starts: the records have none" in errors[0]


def test_a_recording_of_the_provider_has_the_stacks_that_scan_shows(machine, run, tmp_path):
    trace = tmp_path / "a.etl"
    recording = run("record", trace, "--kernel-process")
    until(lambda: any(each.enabled_providers for each in machine.sessions()), "a session that gets events")
    machine.log(ATTACKER_STARTS)
    machine.log([thread(1, item(KERNEL + USER))])
    assert recording.stop()[0] == 0
    status, lines, _ = run("scan", trace, "--format", "json").end()
    assert (status, json.loads(lines[0])["CallSummary"]) == (0, "ntdll.dll|Unbacked")


def test_a_recording_of_the_provider_has_the_start_keys_that_tell_creators_apart(machine, run, tmp_path):
    trace = tmp_path / "a.etl"
    recording = run("record", trace, "--kernel-process")
    until(lambda: any(each.enabled_providers for each in machine.sessions()), "a session that gets events")
    own = encode(ThreadStart(0, ATTACKER, THREAD, ATTACKER, 400_016))
    machine.log([*ATTACKER_STARTS, own._replace(stacks=((13, pack("<Q", 5)),))])
    machine.log([thread(1, (13, pack("<Q", 5))), thread(2, (13, pack("<Q", 6)))])
    assert recording.stop()[0] == 0
    status, lines, _ = run("scan", trace, "--format", "json").end()
    same, another = map(json.loads, lines)
    assert status == 0
    assert same["SourceImage"].endswith("evil.exe")
    assert "SourceImage" not in another
