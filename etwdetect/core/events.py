"""What happened on a Windows machine, as small frozen records: the words of the whole package.

Times are FILETIMEs: 100 ns units since 1601-01-01 UTC. Ids are unsigned 32-bit process and thread ids.
What a trace does not tell is None.
"""

from __future__ import annotations

from typing import Final, NamedTuple

UNKNOWN_ID: Final = 0xFFFFFFFF
"""The id that ETW gives where it does not know the creator."""

IDLE_PID: Final = 0
SYSTEM_PID: Final = 4


class ProcessStart(NamedTuple):
    """A process was created. The creator may be another than the parent, which a program can choose."""

    time: int
    creator_pid: int
    creator_tid: int
    pid: int
    parent_pid: int | None = None
    session_id: int | None = None
    create_time: int | None = None
    sid: bytes | None = None
    image: str | None = None
    command_line: str | None = None


class ProcessRundown(NamedTuple):
    """A process was found to exist: the trace lists the processes that were there before or after it."""

    time: int
    pid: int
    parent_pid: int | None = None
    session_id: int | None = None
    create_time: int | None = None
    sid: bytes | None = None
    image: str | None = None
    command_line: str | None = None


class ProcessStop(NamedTuple):
    """A process exited."""

    time: int
    pid: int


class ThreadStart(NamedTuple):
    """Thread *tid* was created in process *pid* by thread *creator_tid* of process *creator_pid*."""

    time: int
    creator_pid: int
    creator_tid: int
    pid: int
    tid: int
    start_address: int | None = None


class ThreadStop(NamedTuple):
    """A thread exited."""

    time: int
    pid: int
    tid: int


class ThreadRundown(NamedTuple):
    """A thread was found to exist. It says nothing of who created the thread, or when."""

    time: int
    pid: int
    tid: int
    start_address: int | None = None


class ImageLoad(NamedTuple):
    """An image (a program, a DLL, a driver) was mapped into a process, or was found to be (*rundown*)."""

    time: int
    pid: int
    base: int
    size: int
    checksum: int | None = None
    time_date_stamp: int | None = None
    image: str | None = None
    rundown: bool = False


class ImageUnload(NamedTuple):
    """An image was unmapped from a process."""

    time: int
    pid: int
    base: int
    size: int
    image: str | None = None


class VolumeMapping(NamedTuple):
    r"""Paths that the kernel begins with *device* begin with *path* in programs, such as ``C:\``."""

    time: int
    device: str
    path: str


class MachineName(NamedTuple):
    """The name of the machine that all of this happened on."""

    time: int
    name: str


class Loss(NamedTuple):
    """Events were lost: *events* at the least, and *buffers* whole buffers with an unknown number more."""

    time: int
    events: int
    buffers: int = 0


Event = (
    ProcessStart
    | ProcessRundown
    | ProcessStop
    | ThreadStart
    | ThreadStop
    | ThreadRundown
    | ImageLoad
    | ImageUnload
    | VolumeMapping
    | MachineName
    | Loss
)
