"""What Sysmon recorded: the records of `sources.sysmon`, which `enrich.sysmon` turns into detections.

Sysmon judged itself which threads are remote; nothing here goes through the rule. The events are documented at
https://learn.microsoft.com/sysinternals/downloads/sysmon#events. Times are FILETIMEs; Sysmon tells milliseconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable


OWN_PROVIDER: Final = "etwdetect"
"""The provider in what etwdetect writes in Sysmon's form: no Sysmon logged it as it is."""


class SysmonProcess(NamedTuple):
    """A process as an event names it. *guid* is its ProcessGuid in upper case, without braces."""

    pid: int | None
    guid: str | None = None
    image: str | None = None
    user: str | None = None


class SysmonAccess(NamedTuple):
    """Event 10: *source* opened *target* with the access mask *granted*; both texts are as Sysmon writes them."""

    time: int
    host: str | None
    source: SysmonProcess
    target: SysmonProcess
    granted: str | None
    call_trace: str | None


class SysmonThread(NamedTuple):
    """Event 8: *source* created the thread *tid* in *target*. *pointer_size* is that of the address, in bytes."""

    time: int
    host: str | None
    source: SysmonProcess
    target: SysmonProcess
    tid: int
    start_address: int | None
    pointer_size: int
    start_module: str | None
    start_function: str | None
    rule_name: str | None


class SysmonStart(NamedTuple):
    """Event 1: *process* started at *time*."""

    time: int
    host: str | None
    process: SysmonProcess
    command_line: str | None
    session_id: int | None
    parent: SysmonProcess
    parent_command_line: str | None


class SysmonExit(NamedTuple):
    """Event 5: *process* exited at *time*."""

    time: int
    host: str | None
    process: SysmonProcess


class SysmonImage(NamedTuple):
    """Event 7: *process* loaded *path*. Sysmon does not tell at which address."""

    time: int
    host: str | None
    process: SysmonProcess
    path: str | None


class SysmonNotice(NamedTuple):
    """Events 4, 16 and 255: Sysmon started or stopped, got a configuration, or had an error; *text* says which."""

    time: int
    host: str | None
    event_id: int
    text: str


class DeferredAccess(NamedTuple):
    """An event 10 that is not parsed yet: most are about processes of which no event 8 is.

    *pair* has the host and the ProcessGuids of source and target. *load* returns the access, or None where it
    can't be read; *size* is what it takes, in characters.
    """

    time: int
    pair: tuple[str, str, str]
    size: int
    load: Callable[[], SysmonAccess | None]


SysmonRecord = SysmonThread | SysmonAccess | SysmonStart | SysmonExit | SysmonImage | SysmonNotice
