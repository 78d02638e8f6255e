"""One undecoded ETW event, in the form that files and live sessions share."""

from __future__ import annotations

from typing import Final, NamedTuple
from uuid import UUID

KERNEL_PROCESS: Final = UUID("22fb2cd6-0e7b-422b-a0c7-2fad1fd0e716").bytes_le
"""The provider Microsoft-Windows-Kernel-Process, as the 16 bytes in an event."""

PROCESS: Final = UUID("3d6fa8d0-fe05-11d0-9dda-00c04fd7ba7c").bytes_le
THREAD: Final = UUID("3d6fa8d1-fe05-11d0-9dda-00c04fd7ba7c").bytes_le
IMAGE: Final = UUID("2cb15d1d-5fc1-11d2-abe1-00a0c911f518").bytes_le
"""The process, thread and image event classes of the NT Kernel Logger (MSNT_SystemTrace)."""

SYSTEM_CONFIG: Final = UUID("01853a65-418f-4f36-aefc-dc0f1d2fd235").bytes_le
"""The kernel's event class for the system configuration; one of its events has the machine's name."""

SYSTEM_CONFIG_EX: Final = UUID("9b79ee91-b5fd-41c0-a243-4248e266e9d0").bytes_le
"""The class of events added to a kernel trace when it is saved, such as the drive letters of volumes."""

STACK_WALK: Final = UUID("def2fe46-7bd6-4b80-bd94-f57fe20d0ce3").bytes_le
"""The kernel's class of call stacks, each of which is of an event that was logged before it."""

EVENT_TRACING: Final = UUID("b675ec37-bdb6-4648-bc92-f3fdc74d3ca2").bytes_le
"""The provider Microsoft-Windows-Kernel-EventTracing, one of whose events has the user part of a call stack."""

LOST_EVENTS: Final = UUID("6a399ae0-4bc6-4de9-870b-3657f8947e7e").bytes_le
"""The class RT_LostEvent: each of its events reports the loss of at least one other."""


class RawEvent(NamedTuple):
    """An event's header fields, in the same form whatever header carried them, and its payload.

    *id* is the manifest's event id, 0 for classic events, which *opcode* distinguishes. *time* is a FILETIME.
    *pid* and *tid* are those of the thread that logged the event, `events.UNKNOWN_ID` if its header has none.
    *pointer_size* is 4 or 8 bytes. *offset* is the offset in the file for messages, of the record or of the
    compressed buffer around it. *container* is the id of the container that the thread runs in, where
    the header has it. *stacks* are the header's extended items that hold a call stack, as (type, data).
    *start_key* is the process start key of *pid*, where the header has it.
    """

    provider: bytes
    id: int
    version: int
    opcode: int
    time: int
    pid: int
    tid: int
    pointer_size: int
    payload: bytes
    offset: int = 0
    container: str | None = None
    stacks: tuple[tuple[int, bytes], ...] = ()
    start_key: int | None = None
