"""What a call stack says: its frames by the creator's images as of then, and by the kernel's."""

import pytest

from etwdetect.core.events import (
    CallStack,
    ImageLoad,
    ImageUnload,
    Loss,
    ProcessRundown,
    ProcessStart,
    ThreadStart,
)
from etwdetect.core.rule import RemoteThreadRule
from etwdetect.enrich import call_stacks
from etwdetect.enrich.detection import Calls
from etwdetect.enrich.enricher import Enricher
from etwdetect.enrich.imagefiles import ImageFiles
from etwdetect.pipeline import Pipeline
from tests.enrich.pe_by_hand import CHECKSUM, SIZE, STAMP, export_directory, image

TIME = 1_000_000
CREATOR = 10, 11
NTDLL, KERNEL, CLR = 0x7FF9_0000_0000, 0xFFFF_F800_0000_0000, 0x7FF8_0000_0000
OUTSIDE = 0x1A2_B3C4_D5E6
SYSTEM32 = "C:\\Windows\\System32\\"

LISTED = [
    ProcessRundown(1, 10, image="C:\\evil.exe", create_time=1),
    ImageLoad(2, 10, NTDLL, 0x10000, image=SYSTEM32 + "ntdll.dll", rundown=True),
    ImageLoad(2, 0, KERNEL, 0x10000, image="\\SystemRoot\\System32\\ntoskrnl.exe", rundown=True),
]
NOT_THERE = "it is not there"


def detected(*events, pointer_size=8, files=None, kernel=None, user=None, **stack):
    """The detection of a thread that process 10 makes in process 20 with the given stack."""
    enricher = Enricher(pointer_size=pointer_size, files=files)
    pipeline = Pipeline(RemoteThreadRule(), enricher)
    for event in (*events, CallStack(TIME, *CREATOR, kernel, user, **stack), ThreadStart(TIME, *CREATOR, 20, 21)):
        pipeline.observe(event)
    (found,) = pipeline.take()
    return found


def test_frames_are_shown_by_image_and_offset_the_innermost_first():
    calls = detected(*LISTED, kernel=(KERNEL + 0xFA00, KERNEL + 0x53), user=(NTDLL + 0x36BB, NTDLL + 0xC3F1)).calls
    assert calls == Calls(
        f"{SYSTEM32}ntdll.dll+36bb|{SYSTEM32}ntdll.dll+c3f1",
        "\\SystemRoot\\System32\\ntoskrnl.exe+fa00|\\SystemRoot\\System32\\ntoskrnl.exe+53",
        "ntdll.dll",
    )


def test_a_frame_in_no_image_is_shown_by_its_address():
    calls = detected(*LISTED, user=(NTDLL + 1, OUTSIDE, OUTSIDE + 9, NTDLL + 2), kernel=(KERNEL - 1,)).calls
    assert calls.trace == (
        f"{SYSTEM32}ntdll.dll+1|UNKNOWN(000001A2B3C4D5E6)|UNKNOWN(000001A2B3C4D5EF)|{SYSTEM32}ntdll.dll+2"
    )
    assert calls.kernel == "UNKNOWN(FFFFF7FFFFFFFFFF)"
    assert calls.summary == "ntdll.dll|Unbacked|ntdll.dll"


@pytest.mark.parametrize("address", [0, 0xFFFF])
def test_a_frame_where_no_code_can_be_is_shown_and_not_summed_up(address):
    calls = detected(*LISTED, user=(NTDLL + 1, address, NTDLL + 2)).calls
    assert f"|UNKNOWN({address:016X})|" in calls.trace
    assert calls.summary == "ntdll.dll"


def test_an_address_of_a_32_bit_machine_has_8_digits():
    assert detected(user=(0x1234,), pointer_size=4).calls.trace == "UNKNOWN(00001234)"


@pytest.mark.parametrize(
    "before",
    [[], [Loss(0, 1), *LISTED], [ProcessRundown(1, 10), ImageUnload(TIME - 1, 10, CLR, 0x1000)]],
    ids=["no images", "lost events", "some images"],
)
def test_where_not_all_images_are_known_a_frame_outside_them_is_unknown(before):
    assert detected(*before, user=(OUTSIDE,)).calls.summary == "Unknown"


def test_of_a_process_that_was_seen_to_start_all_images_are_known():
    assert detected(ProcessStart(5, 1, 2, 10), user=(OUTSIDE,)).calls.summary == "Unbacked"


def test_an_image_that_is_unmapped_later_holds_the_frames_until_then():
    load = ImageLoad(6, 10, CLR, 0x1000, image="C:\\clr.dll")
    assert detected(*LISTED, load, user=(CLR + 5,)).calls.summary == "clr.dll"
    assert detected(*LISTED, load, ImageUnload(7, 10, CLR, 0x1000), user=(CLR + 5,)).calls.summary == "Unbacked"


def test_images_that_are_listed_at_the_end_alone_were_there_before():
    enricher = Enricher()
    listed = [event._replace(time=TIME + 50) for event in LISTED]
    for event in listed:
        enricher.prescan(event)
    pipeline = Pipeline(RemoteThreadRule(), enricher)
    stack = CallStack(TIME, *CREATOR, (KERNEL + 1,), (NTDLL + 1,))
    for event in (stack, ThreadStart(TIME, *CREATOR, 20, 21), *listed):
        pipeline.observe(event)
    (found,) = pipeline.take()
    assert found.calls.trace == f"{SYSTEM32}ntdll.dll+1"
    assert found.calls.kernel == "\\SystemRoot\\System32\\ntoskrnl.exe+1"


def test_the_runtime_of_the_creator_is_found_among_its_images():
    load = ImageLoad(6, 10, CLR, 0x1000, image="C:\\Windows\\Microsoft.NET\\CLR.dll")
    assert detected(*LISTED, load, user=(OUTSIDE,)).calls.runtime == "clr.dll"
    assert detected(*LISTED, user=(OUTSIDE,)).calls.runtime is None


def test_a_path_can_not_be_made_to_look_like_two_frames():
    load = ImageLoad(6, 10, CLR, 0x1000, image="C:\\a.dll+1|C:\\b.dll")
    assert detected(*LISTED, load, user=(CLR,)).calls.trace == "C:\\a.dll+1\\x7cC:\\b.dll+0"


def test_a_missing_part_is_absent_with_its_reason():
    found = detected(*LISTED, kernel=(KERNEL,), no_user=NOT_THERE)
    assert (found.calls.trace, found.calls.summary) == (None, None)
    assert dict(found.absent)["CallTrace"] == NOT_THERE
    assert "CallKernel" not in dict(found.absent)


def test_a_thread_without_a_stack_has_neither_calls_nor_reasons():
    pipeline = Pipeline(RemoteThreadRule(), Enricher())
    for event in (CallStack(TIME, 10, 12, user_frames=(1,)), CallStack(TIME - 1, *CREATOR, user_frames=(1,))):
        pipeline.observe(event)
    pipeline.observe(ThreadStart(TIME, *CREATOR, 20, 21))
    (found,) = pipeline.take()
    assert found.calls == Calls()
    assert not any(name.startswith("Call") for name, _ in found.absent)


def test_each_of_two_threads_of_one_tick_has_its_own_stack():
    pipeline = Pipeline(RemoteThreadRule(), Enricher())
    for tid in (11, 12):
        pipeline.observe(CallStack(TIME, 10, tid, user_frames=(tid,)))
    for tid in (12, 11):
        pipeline.observe(ThreadStart(TIME, 10, tid, 20, tid + 100))
    assert [found.calls.trace for found in pipeline.take()] == [f"UNKNOWN({tid:016X})" for tid in (12, 11)]


def test_more_frames_than_are_held_are_told(monkeypatch):
    monkeypatch.setattr(call_stacks, "MOST_HELD", 3)
    pipeline = Pipeline(RemoteThreadRule(), Enricher())
    for number in range(2):
        pipeline.observe(CallStack(TIME + number, *CREATOR, user_frames=(1, 2)))
        pipeline.observe(ThreadStart(TIME + number, *CREATOR, 20, 21 + number))
    first, second = pipeline.take()
    assert first.calls.trace is not None
    assert dict(second.absent)["CallTrace"] == call_stacks.TOO_MANY_FRAMES
    pipeline.observe(CallStack(TIME + 9, *CREATOR, user_frames=(1, 2)))
    pipeline.observe(ThreadStart(TIME + 9, *CREATOR, 20, 29))
    (third,) = pipeline.take()
    assert third.calls.trace is not None


def test_with_image_files_frames_have_the_nearest_function_below(tmp_path):
    (tmp_path / "a.dll").write_bytes(image(export_directory([0x2010], [("NtCreateThreadEx", 0)])))
    load = ImageLoad(6, 10, CLR, SIZE, CHECKSUM, STAMP, "C:\\a.dll")
    user = CLR + 0x2024, OUTSIDE, NTDLL + 0x10, CLR + 1
    assert detected(*LISTED, load, user=user, files=ImageFiles(tmp_path)).calls.symbols == (
        "a.dll!NtCreateThreadEx+0x14|UNKNOWN(000001A2B3C4D5E6)|ntdll.dll+10|a.dll+1"
    )
    assert detected(*LISTED, user=user, files=ImageFiles(tmp_path)).calls.symbols is None


def test_a_function_can_not_be_made_to_look_like_two_frames(tmp_path):
    (tmp_path / "a.dll").write_bytes(image(export_directory([0x2010], [("a|ntdll.dll!NtClose", 0)])))
    load = ImageLoad(6, 10, CLR, SIZE, CHECKSUM, STAMP, "C:\\a.dll")
    found = detected(*LISTED, load, user=(CLR + 0x2010,), files=ImageFiles(tmp_path))
    assert "|" not in found.calls.symbols
