"""Microsoft-Windows-Kernel-Process: events 1 to 6 and 15, in every version up to Windows 11 26H1.

Layouts from the provider's manifests of those Windows versions; ids 1 to 6 checked on real traces of Windows 7,
1 and 2 on Windows 8.
"""

from __future__ import annotations

from typing import Final

from etwdetect.sources.decode import event_types
from etwdetect.sources.decode.event_types import EventType
from etwdetect.sources.decode.layout import Layout

PROCESS_FIELDS: Final = (
    "ProcessID", "ParentProcessID", "SessionID", "CreateTime", "UserSID", "ImageName", "CommandLine",
    "ProcessSequenceNumber",
)  # fmt: skip

_START_V0 = Layout("ProcessID u32, CreateTime u64, ParentProcessID u32, SessionID u32, ImageName utf16")
_START_V1 = Layout("ProcessID u32, CreateTime u64, ParentProcessID u32, SessionID u32, Flags u32, ImageName utf16")
_START_V2 = _START_V1.then(
    "ImageChecksum u32, TimeDateStamp u32, PackageFullName utf16, PackageRelativeAppId utf16"
)
_START_V3 = Layout(
    "ProcessID u32, ProcessSequenceNumber u64, CreateTime u64, ParentProcessID u32,"
    "ParentProcessSequenceNumber u64, SessionID u32, Flags u32, ProcessTokenElevationType u32,"
    "ProcessTokenIsElevated u32, MandatoryLabel sid, ImageName utf16,"
    "ImageChecksum u32, TimeDateStamp u32, PackageFullName utf16, PackageRelativeAppId utf16"
)
_START_V4 = _START_V3.then("SecurityMitigations u32")
_START_V5 = _START_V4.then("PartitionID u32, ProcessMachine u16")

_STOP_V0 = Layout(
    "ProcessID u32, CreateTime u64, ExitTime u64, ExitCode u32, TokenElevationType u32, HandleCount u32,"
    "CommitCharge u64, CommitPeak u64, ImageName ansi"
)
_STOP_V1 = Layout(
    "ProcessID u32, CreateTime u64, ExitTime u64, ExitCode u32, TokenElevationType u32, HandleCount u32,"
    "CommitCharge u64, CommitPeak u64, CPUCycleCount u64, ReadOperationCount u32, WriteOperationCount u32,"
    "ReadTransferKiloBytes u32, WriteTransferKiloBytes u32, HardFaultCount u32, ImageName ansi"
)
_STOP_V2 = Layout(
    "ProcessID u32, ProcessSequenceNumber u64, CreateTime u64, ExitTime u64, ExitCode u32,"
    "TokenElevationType u32, HandleCount u32, CommitCharge u64, CommitPeak u64, CPUCycleCount u64,"
    "ReadOperationCount u32, WriteOperationCount u32, ReadTransferKiloBytes u32, WriteTransferKiloBytes u32,"
    "HardFaultCount u32, ImageName ansi"
)

_THREAD_V0 = Layout(
    "ProcessID u32, ThreadID u32, StackBase ptr, StackLimit ptr, UserStackBase ptr, UserStackLimit ptr,"
    "StartAddr ptr, Win32StartAddr ptr, TebBase ptr"
)
_THREAD_V1 = _THREAD_V0.then("SubProcessTag u32")
_THREAD_STOP_V1 = _THREAD_V1.then("CycleTime u64")

_IMAGE_V0 = Layout(
    "ImageBase ptr, ImageSize ptr, ProcessID u32, ImageCheckSum u32, TimeDateStamp u32, DefaultBase ptr,"
    "ImageName utf16"
)

_STARTS = (_START_V0, _START_V1, _START_V2, _START_V3, _START_V4, _START_V5)
_THREAD_FIELDS = ("ProcessID", "ThreadID", "Win32StartAddr")
_IMAGE_FIELDS = ("ProcessID", "ImageBase", "ImageSize", "ImageCheckSum", "TimeDateStamp", "ImageName")

EVENTS: Final = {
    1: EventType("ProcessStart", _STARTS, PROCESS_FIELDS, event_types.process_start),
    2: EventType("ProcessStop", (_STOP_V0, _STOP_V1, _STOP_V2), PROCESS_FIELDS, event_types.process_stop),
    3: EventType("ThreadStart", (_THREAD_V0, _THREAD_V1), _THREAD_FIELDS, event_types.thread_start, grows=True),
    4: EventType(
        "ThreadStop", (_THREAD_V0, _THREAD_STOP_V1), ("ProcessID", "ThreadID"), event_types.thread_stop, grows=True
    ),
    5: EventType("ImageLoad", (_IMAGE_V0,), _IMAGE_FIELDS, event_types.image_load, grows=True),
    6: EventType("ImageUnload", (_IMAGE_V0,), _IMAGE_FIELDS, event_types.image_unload, grows=True),
    # Rundown is laid out as the start of one version on.
    15: EventType("ProcessRundown", _STARTS[2:], PROCESS_FIELDS, event_types.process_rundown),
}
"""By event id."""
