"""The call stacks of a real recording, against what was read from its bytes by hand."""

import pytest

from etwdetect.core.events import CallStack, ImageLoad, ThreadStart
from etwdetect.enrich.programs import file_name
from etwdetect.offline import Scan
from etwdetect.sources.etl.reader import Trace

# By the new thread: the frames of both parts, by image and offset.
SEEN_BY_HAND = {
    3680: (  # cmd.exe starts a program
        "ntoskrnl.exe+42fa00 ntoskrnl.exe+41d0d0 ntoskrnl.exe+7a053",
        (
            "ntdll.dll+371b KernelBase.dll+c0a9 KernelBase.dll+b566 kernel32.dll+4b07 cmd.exe+37d0 cmd.exe+3c2b"
            " cmd.exe+3ce2 cmd.exe+1387 cmd.exe+2d5a2 cmd.exe+1b721 kernel32.dll+167e ntdll.dll+1c3f1"
        ),
    ),
    3660: (  # the runtime of .NET makes a thread of its own
        "ntoskrnl.exe+42fa00 ntoskrnl.exe+432b3a ntoskrnl.exe+432e3c ntoskrnl.exe+7a053",
        (
            "ntdll.dll+36bb KernelBase.dll+1efe3 kernel32.dll+1de8 clr.dll+18b6e6 clr.dll+18b5eb clr.dll+191304"
            " clr.dll+18e761 clr.dll+18451d clr.dll+1844b8 clr.dll+19782a clr.dll+194174 mscoreei.dll+72fd"
            " mscoree.dll+5b21 kernel32.dll+167e ntdll.dll+1c3f1"
        ),
    ),
    3864: (  # a thread pool grows: the kernel makes the thread inside another system service
        (
            "ntoskrnl.exe+42fa00 ntoskrnl.exe+432b3a ntoskrnl.exe+432e3c ntoskrnl.exe+7a053 ntoskrnl.exe+7f230"
            " ntoskrnl.exe+4331b5 ntoskrnl.exe+61bbf ntoskrnl.exe+e2668 ntoskrnl.exe+68251 ntoskrnl.exe+7a053"
        ),
        (
            "ntdll.dll+434b ntdll.dll+2103b ntdll.dll+12875 ntdll.dll+12980 KernelBase.dll+1ae4 rpcrt4.dll+111e8"
            " rpcrt4.dll+1127e rpcrt4.dll+110bb rpcrt4.dll+1582f rpcrt4.dll+10dc7 rpcrt4.dll+119f0 rpcrt4.dll+5b08"
            " rpcrt4.dll+115730 rpcrt4.dll+116a5c rpcrt4.dll+117d09 advapi32.dll+3a29 advapi32.dll+56a6"
            " advapi32.dll+571e advapi32.dll+5123 advapi32.dll+4369 clr.dll+193c14 clr.dll+193a94 clr.dll+197570"
            " clr.dll+187a68 clr.dll+197b92 clr.dll+14fcb6 kernel32.dll+167e ntdll.dll+1c3f1"
        ),
    ),
    3856: (  # a 32-bit program, with frames of both kinds, and of code that .NET made
        "ntoskrnl.exe+42fa00 ntoskrnl.exe+432b3a ntoskrnl.exe+432e3c ntoskrnl.exe+7a053",
        (
            "ntdll.dll+36bb wow64.dll+20882 wow64.dll+c363 wow64cpu.dll+25a7 wow64.dll+c4f6 wow64.dll+b8f5"
            " ntdll.dll+7d6af ntdll.dll+1c1ae ntdll.dll+41878 KernelBase.dll+143c0 kernel32.dll+2468a"
            " clr.dll+14c074 clr.dll+14c0a5 35d31c6 8579cdd 857a188 8579d16 clr.dll+f237 clr.dll+ff60"
            " clr.dll+1a9e2d clr.dll+14306 clr.dll+14374 clr.dll+14441 clr.dll+144af clr.dll+1a9dc1 clr.dll+1a9085"
            " clr.dll+19a909 kernel32.dll+28543 ntdll.dll+5ac69 ntdll.dll+5ac3c"
        ),
    ),
}


@pytest.fixture(scope="module")
def events(recordings):
    with (recordings / "kernel-logger-win8.etl").open("rb") as file:
        return list(Scan([Trace(file, "kernel-logger-win8.etl")]).events())


@pytest.fixture(scope="module")
def stacks(events):
    """By the new thread's id: its stack."""
    found = {(each.time, each.creator_tid): each for each in events if isinstance(each, CallStack)}
    starts = (each for each in events if isinstance(each, ThreadStart))
    return {start.tid: found.get((start.time, start.creator_tid)) for start in starts}


@pytest.fixture(scope="module")
def named(events):
    """Name an address by the image in a process, or in the kernel, that holds it."""
    images = {(each.pid, each.base): each for each in events if isinstance(each, ImageLoad)}

    def name(pid, address):
        for (of, base), image in images.items():
            if of in {pid, 0} and base <= address < base + image.size:
                return f"{file_name(image.image)}+{address - base:x}"
        return f"{address:x}"

    return name


def test_all_nine_thread_starts_have_a_kernel_part_and_seven_a_user_part(stacks):
    assert {tid: (len(each.kernel_frames), len(each.user_frames or ())) for tid, each in stacks.items()} == {
        3668: (8, 0),
        3664: (4, 29),
        3680: (3, 12),
        3660: (4, 15),
        3656: (4, 17),
        3864: (10, 28),
        3856: (4, 30),
        3852: (4, 0),
        1944: (4, 33),
    }
    assert all((each.user_frames is None) == bool(each.no_user) for each in stacks.values())


@pytest.mark.parametrize("tid", SEEN_BY_HAND)
def test_each_frame_is_in_the_image_and_at_the_offset_that_were_seen_by_hand(stacks, named, tid):
    stack = stacks[tid]
    parts = (0, stack.kernel_frames), (stack.creator_pid, stack.user_frames)
    assert tuple(" ".join(named(pid, each) for each in frames) for pid, frames in parts) == SEEN_BY_HAND[tid]
