"""One ETW event as its source hands it over, undecoded: the form that files and live sessions share."""

from __future__ import annotations

from typing import Final, NamedTuple
from uuid import UUID

KERNEL_PROCESS: Final = UUID("22fb2cd6-0e7b-422b-a0c7-2fad1fd0e716").bytes_le
"""The provider Microsoft-Windows-Kernel-Process, as its 16 bytes stand in an event."""

PROCESS: Final = UUID("3d6fa8d0-fe05-11d0-9dda-00c04fd7ba7c").bytes_le
THREAD: Final = UUID("3d6fa8d1-fe05-11d0-9dda-00c04fd7ba7c").bytes_le
IMAGE: Final = UUID("2cb15d1d-5fc1-11d2-abe1-00a0c911f518").bytes_le
"""The three event classes of the NT Kernel Logger (MSNT_SystemTrace) that tell of processes."""

SYSTEM_CONFIG: Final = UUID("01853a65-418f-4f36-aefc-dc0f1d2fd235").bytes_le
"""The kernel's event class for what the machine is made of; one of them has its name."""

SYSTEM_CONFIG_EX: Final = UUID("9b79ee91-b5fd-41c0-a243-4248e266e9d0").bytes_le
"""The class of what is added to a kernel trace when it is saved; the drive letters of volumes are among it."""

LOST_EVENTS: Final = UUID("6a399ae0-4bc6-4de9-870b-3657f8947e7e").bytes_le
"""The class RT_LostEvent: each event says that at least one other was lost."""


class RawEvent(NamedTuple):
    """An event's header fields, in the same form whatever header carried them, and its payload.

    *id* is the manifest's event id, 0 for classic events, which *opcode* tells apart. *time* is a FILETIME.
    *pid* and *tid* are those of the thread that logged the event; `events.UNKNOWN_ID` where its header has
    none. *pointer_size* is 4 or 8 bytes. *offset* is where in the file the event stands, for messages: the
    record's own place, or that of the compressed buffer around it.
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
