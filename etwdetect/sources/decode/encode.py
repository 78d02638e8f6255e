"""Encodes records of core/events.py as Microsoft-Windows-Kernel-Process events.

For samples, tests and parity scenarios, which are written as events and read as traces.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from etwdetect.core.events import (
    UNKNOWN_ID,
    ImageLoad,
    ImageUnload,
    ProcessRundown,
    ProcessStart,
    ProcessStop,
    ThreadStart,
    ThreadStop,
)
from etwdetect.core.raw import KERNEL_PROCESS, RawEvent
from etwdetect.sources.decode.kernel_process import EVENTS

if TYPE_CHECKING:
    from etwdetect.core.events import Event
    from etwdetect.sources.decode.layout import Value

_OPCODES: Final = {1: 1, 2: 2, 3: 1, 4: 2, 5: 0, 6: 0, 15: 0}
"""By event id: the opcode in the manifest."""

_NEWEST_COMMON: Final = {1: 3, 2: 2, 3: 1, 4: 1, 5: 0, 6: 0, 15: 1}
"""By event id, the version that Windows 10 1903 to Windows 11 23H2 write."""


def encode(event: Event, pointer_size: int = 8, version: int | None = None) -> RawEvent:
    """Return *event* as the provider logs it, in *version*, by default that of Windows 10.

    Raises ValueError for an event that the provider does not log.
    """
    pid = tid = UNKNOWN_ID
    match event:
        case ProcessStart():
            event_id, pid, tid = 1, event.creator_pid, event.creator_tid
            values = _process(event) | {"CreateTime": event.create_time or event.time}
        case ProcessStop():
            event_id, pid = 2, event.pid
            values = _process(event) | {"ExitTime": event.time}
        case ThreadStart():
            event_id, pid, tid = 3, event.creator_pid, event.creator_tid
            values = {"ProcessID": event.pid, "ThreadID": event.tid, "Win32StartAddr": event.start_address}
        case ThreadStop():
            event_id, pid, tid = 4, event.pid, event.tid
            values = {"ProcessID": event.pid, "ThreadID": event.tid}
        case ImageLoad(rundown=False) | ImageUnload():
            event_id, pid = (5 if isinstance(event, ImageLoad) else 6), event.pid
            values = _image(event)
        case ProcessRundown():
            event_id, values = 15, _process(event)
        case _:
            raise ValueError(f"Microsoft-Windows-Kernel-Process has no event for {event}")
    if version is None:
        version = _NEWEST_COMMON[event_id]
    payload = EVENTS[event_id].layouts[version].pack(pointer_size, values)
    return RawEvent(
        KERNEL_PROCESS,
        event_id,
        version,
        _OPCODES[event_id],
        event.time,
        pid,
        tid,
        pointer_size,
        payload,
        start_key=event.creator_key if isinstance(event, ThreadStart) else None,
    )


def _process(event: ProcessStart | ProcessRundown | ProcessStop) -> dict[str, Value]:
    return {
        "ProcessID": event.pid,
        "ParentProcessID": event.parent_pid,
        "SessionID": event.session_id,
        "CreateTime": event.create_time,
        "ImageName": event.image,
        "ProcessSequenceNumber": event.sequence,
    }


def _image(event: ImageLoad | ImageUnload) -> dict[str, Value]:
    values: dict[str, Value] = {
        "ImageBase": event.base,
        "ImageSize": event.size,
        "ProcessID": event.pid,
        "DefaultBase": event.base,
        "ImageName": event.image,
    }
    if isinstance(event, ImageLoad):
        values |= {"ImageCheckSum": event.checksum, "TimeDateStamp": event.time_date_stamp}
    return values
