r"""The NT Kernel Logger (MSNT_SystemTrace): process, thread and image events, in every version.

Beside them are two of the events that describe the machine.

Layouts from the classes of the same names in the WMI namespace root\wmi, which the Windows SDK documents, and
from real traces of builds 6001 to 22621 where those say otherwise (Thread V3, Process V4 and V5).
"""

from __future__ import annotations

from typing import Final

from etwdetect.core.raw import IMAGE, PROCESS, SYSTEM_CONFIG, SYSTEM_CONFIG_EX, THREAD
from etwdetect.sources.decode import event_types
from etwdetect.sources.decode.event_types import EventType
from etwdetect.sources.decode.layout import Layout

_PROCESS_V0 = Layout("ProcessId ptr, ParentId ptr, UserSID user, ImageFileName ansi")
_PROCESS_V1 = Layout(
    "PageDirectoryBase ptr, ProcessId u32, ParentId u32, SessionId u32, ExitStatus u32, UserSID user,"
    "ImageFileName ansi"
)
_PROCESS_V2 = Layout(
    "UniqueProcessKey ptr, ProcessId u32, ParentId u32, SessionId u32, ExitStatus u32, UserSID user,"
    "ImageFileName ansi, CommandLine utf16"
)
_PROCESS_V3 = Layout(
    "UniqueProcessKey ptr, ProcessId u32, ParentId u32, SessionId u32, ExitStatus u32,"
    "DirectoryTableBase ptr, UserSID user, ImageFileName ansi, CommandLine utf16"
)
_PROCESS_V4 = Layout(
    "UniqueProcessKey ptr, ProcessId u32, ParentId u32, SessionId u32, ExitStatus u32,"
    "DirectoryTableBase ptr, Flags u32, UserSID user, ImageFileName ansi, CommandLine utf16,"
    "PackageFullName utf16, ApplicationId utf16"
)
_PROCESS_V5 = _PROCESS_V4.then("ExitTime u64")

_THREAD_V0 = Layout("TThreadId u32, ProcessId u32")  # the two ids change places with V1
_THREAD_IDS = Layout("ProcessId u32, TThreadId u32")
_THREAD_V1 = _THREAD_IDS.then(
    "StackBase ptr, StackLimit ptr, UserStackBase ptr, UserStackLimit ptr, StartAddr ptr, Win32StartAddr ptr,"
    "WaitMode u8"
)
_THREAD_V2 = _THREAD_IDS.then(
    "StackBase ptr, StackLimit ptr, UserStackBase ptr, UserStackLimit ptr, StartAddr ptr, Win32StartAddr ptr,"
    "TebBase ptr, SubProcessTag u32"
)
# Newer builds append the thread's name and still say version 3.
_THREAD_V3 = _THREAD_IDS.then(
    "StackBase ptr, StackLimit ptr, UserStackBase ptr, UserStackLimit ptr, Affinity ptr, Win32StartAddr ptr,"
    "TebBase ptr, SubProcessTag u32, BasePriority u8, PagePriority u8, IoPriority u8, ThreadFlags u8"
)

_IMAGE_V0 = Layout("ImageBase ptr, ImageSize u32, ImageName utf16")
_IMAGE_V1 = Layout("ImageBase ptr, ImageSize ptr, ProcessId u32, ImageName utf16")
_IMAGE_V2 = Layout(
    "ImageBase ptr, ImageSize ptr, ProcessId u32, ImageCheckSum u32, TimeDateStamp u32, Reserved0 u32,"
    "DefaultBase ptr, Reserved1 u32, Reserved2 u32, Reserved3 u32, Reserved4 u32, ImageName utf16"
)

# The name stands in 512 bytes; what follows it differs between versions, and is not read.
_SYSTEM_CONFIG_CPU = Layout(
    "MHz u32, NumberOfProcessors u32, MemSize u32, PageSize u32, AllocationGranularity u32, ComputerName utf16"
)
_VOLUME_MAPPING = Layout("NtPath utf16, DosPath utf16")

_PROCESSES = (_PROCESS_V0, _PROCESS_V1, _PROCESS_V2, _PROCESS_V3, _PROCESS_V4, _PROCESS_V5)
_THREADS = (_THREAD_V0, _THREAD_V1, _THREAD_V2, _THREAD_V3)
# V3 has the bytes of V2 with other fields in the slots reserved there: signature level and type.
_IMAGES = (_IMAGE_V0, _IMAGE_V1, _IMAGE_V2, _IMAGE_V2)
_PROCESS_FIELDS = (
    "ProcessId",
    "ParentId",
    "SessionId",
    "CreateTime",
    "UserSID",
    "ImageFileName",
    "CommandLine",
)
_THREAD_FIELDS = ("ProcessId", "TThreadId", "Win32StartAddr")
_IMAGE_FIELDS = ("ProcessId", "ImageBase", "ImageSize", "ImageCheckSum", "TimeDateStamp", "ImageName")


def _process(kind: str, builder: event_types.Builder, names: tuple[str, ...] = _PROCESS_FIELDS) -> EventType:
    return EventType(kind, _PROCESSES, names, builder, pid_behind_pointer=True, either_pointer_size=True)


def _image(kind: str, builder: event_types.Builder) -> EventType:
    return EventType(kind, _IMAGES, _IMAGE_FIELDS, builder, grows=True, either_pointer_size=True)


EVENTS: Final = {
    PROCESS: {
        1: _process("ProcessStart", event_types.process_start),
        2: _process("ProcessStop", event_types.process_stop),
        3: _process("ProcessDCStart", event_types.process_rundown),
        4: _process("ProcessDCEnd", event_types.process_rundown),
        39: _process("ProcessDefunct", event_types.process_rundown),
    },
    THREAD: {
        1: EventType("ThreadStart", _THREADS, _THREAD_FIELDS, event_types.thread_start, grows=True),
        # The end carries all of its version's fields or, in V1, the ids alone, which are all that is read.
        2: EventType(
            "ThreadStop",
            (_THREAD_V0, _THREAD_IDS, _THREAD_IDS, _THREAD_IDS),
            ("ProcessId", "TThreadId"),
            event_types.thread_stop,
            grows=True,
        ),
        3: EventType("ThreadDCStart", _THREADS, _THREAD_FIELDS, event_types.thread_rundown, grows=True),
        4: EventType("ThreadDCEnd", _THREADS, _THREAD_FIELDS, event_types.thread_rundown, grows=True),
    },
    IMAGE: {
        10: _image("ImageLoad", event_types.image_load),
        2: _image("ImageUnload", event_types.image_unload),
        3: _image("ImageDCStart", event_types.image_rundown),
        4: _image("ImageDCEnd", event_types.image_rundown),
    },
    SYSTEM_CONFIG: {
        10: EventType(
            "SystemConfigCPU", (_SYSTEM_CONFIG_CPU,) * 4, ("ComputerName",), event_types.machine_name, grows=True
        ),
    },
    SYSTEM_CONFIG_EX: {
        35: EventType(
            "VolumeMapping", (_VOLUME_MAPPING,), ("NtPath", "DosPath"), event_types.volume_mapping, grows=True
        ),
    },
}
"""By class and opcode."""
