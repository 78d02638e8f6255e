"""The events of a Windows machine, as immutable records used in the whole package.

Times are FILETIMEs: 100 ns units since 1601-01-01 UTC. Ids are unsigned 32-bit process and thread ids. Unknown
fields are None.
"""

from __future__ import annotations

from typing import Final, NamedTuple

UNKNOWN_ID: Final = 0xFFFFFFFF
"""The id in an ETW event whose creator is unknown."""

IDLE_PID: Final = 0
SYSTEM_PID: Final = 4

MOST_FRAMES: Final = 256
"""Of each part of a call stack; Windows records 192 of both together."""


class ProcessStart(NamedTuple):
    """A process was created. The creator may differ from the parent, which a program can choose.

    *sequence* is its ProcessSequenceNumber, which no other process of the boot has: told from Windows 10 1903 on.
    """

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
    sequence: int | None = None


class ProcessRundown(NamedTuple):
    """A running process was listed: a trace lists the processes that exist at its start or end."""

    time: int
    pid: int
    parent_pid: int | None = None
    session_id: int | None = None
    create_time: int | None = None
    sid: bytes | None = None
    image: str | None = None
    command_line: str | None = None
    sequence: int | None = None


class ProcessStop(NamedTuple):
    """A process exited. Some events of it tell what it was, as its start does."""

    time: int
    pid: int
    parent_pid: int | None = None
    session_id: int | None = None
    create_time: int | None = None
    sid: bytes | None = None
    image: str | None = None
    command_line: str | None = None
    sequence: int | None = None


class ThreadStart(NamedTuple):
    """Thread *tid* was created in process *pid* by thread *creator_tid* of process *creator_pid*.

    *container* is the id of the container that the creator runs in. *creator_key* is the creator's process start
    key, a u64 that no other process of the boot has.
    """

    time: int
    creator_pid: int
    creator_tid: int
    pid: int
    tid: int
    start_address: int | None = None
    container: str | None = None
    creator_key: int | None = None


class CallStack(NamedTuple):
    """The call stack of thread *creator_tid* of process *creator_pid* in its creating a thread at *time*.

    *kernel_frames* and *user_frames* are its two parts: return addresses, those of the innermost calls first, at
    most MOST_FRAMES. A part that is missing is None; *no_kernel* and *no_user* say why, or how much is missing.
    """

    time: int
    creator_pid: int
    creator_tid: int
    kernel_frames: tuple[int, ...] | None = None
    user_frames: tuple[int, ...] | None = None
    no_kernel: str | None = None
    no_user: str | None = None


class ThreadStop(NamedTuple):
    """A thread exited."""

    time: int
    pid: int
    tid: int


class ThreadRundown(NamedTuple):
    """An existing thread was listed. Its creator and its start time are unknown."""

    time: int
    pid: int
    tid: int
    start_address: int | None = None


class ImageLoad(NamedTuple):
    """An image (a program, a DLL, a driver) was mapped into a process, or listed as mapped (*rundown*)."""

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
    r"""Kernel paths that start with *device* are paths that start with *path*, such as ``C:\``, in programs."""

    time: int
    device: str
    path: str


class MachineName(NamedTuple):
    """The name of the machine."""

    time: int
    name: str


class Loss(NamedTuple):
    """Events were lost: at least *events*, and *buffers* whole buffers with an unknown number of events."""

    time: int
    events: int
    buffers: int = 0


class SourceStart(NamedTuple):
    """Another source of events begins: a provider that was switched on later, or the next file of a session.

    What it would have told of the time before is missing.
    """

    time: int


class Contradiction(NamedTuple):
    """The recording contradicts itself in the way that *name* says, about process *pid* or, with None, as a whole.

    From there on, remote threads by or in that process carry *name* as evidence.
    """

    time: int
    name: str
    pid: int | None = None


Event = (
    ProcessStart
    | ProcessRundown
    | ProcessStop
    | ThreadStart
    | CallStack
    | ThreadStop
    | ThreadRundown
    | ImageLoad
    | ImageUnload
    | VolumeMapping
    | MachineName
    | Loss
    | SourceStart
    | Contradiction
)
