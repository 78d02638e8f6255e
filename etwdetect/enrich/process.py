"""Turns a tracked process into a detection's Process, with the reason for each missing field."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from etwdetect.core.filetime import TICKS_PER_SECOND, UNIX_EPOCH
from etwdetect.enrich.accounts import account
from etwdetect.enrich.detection import Process
from etwdetect.enrich.tracked_process import start_time

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etwdetect.enrich.paths import Paths
    from etwdetect.enrich.tracked_process import TrackedProcess

_NO_SESSION: Final = 0xFFFF_FFFF


def process_guid(machine: str, started: int, pid: int) -> str:
    """Return an identifier for process *pid* that *started* at a FILETIME, in the format of Sysmon's ProcessGuid.

    The first group identifies the machine: a hash of its name in lower case. The next two are the start in seconds
    since 1970, low half first. The last two, which Sysmon takes from the process's token, are the low 32 bits of
    the start time (in 100 ns units) and the process id, so a process has the same identifier in every trace.

    >>> process_guid("HOST1", 133_702_128_152_535_104, 7608)
    '4f213bb6-b0cf-66dc-8e3e-e04000001db8'
    """
    seconds = max(started - UNIX_EPOCH, 0) // TICKS_PER_SECOND & 0xFFFF_FFFF
    rest = f"{started & 0xFFFF_FFFF:08x}{pid:08x}"
    return f"{_machine_id(machine)}-{seconds & 0xFFFF:04x}-{seconds >> 16:04x}-{rest[:4]}-{rest[4:]}"


@lru_cache(maxsize=64)
def _machine_id(machine: str) -> str:
    return blake2b(machine.lower().encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()


def describe(
    pid: int, process: TrackedProcess | None, parent: TrackedProcess | None, paths: Paths, machine: str
) -> Process:
    """Return what is known about the process *pid*, tracked as *process*, and about its *parent*."""
    known = process.known if process else None
    if process is None or known is None:
        return Process(pid)
    image = process.image
    started = start_time(known)
    return Process(
        pid,
        image=paths.dos(image) if image else None,
        command_line=known.command_line or None,
        parent_pid=known.parent_pid,
        parent_image=paths.dos(parent.image) if parent and parent.image else None,
        parent_command_line=(parent.known.command_line or None) if parent and parent.known else None,
        user=account(known.sid) if known.sid else None,
        session_id=None if known.session_id == _NO_SESSION else known.session_id,
        start_time=started,
        guid=None if started is None else process_guid(machine, started, pid),
    )


def absences(
    side: str, process: Process, tracked: TrackedProcess | None, parent: TrackedProcess | None, source: str
) -> Iterator[tuple[str, str]]:
    """Yield (field, reason) for each unknown field of *process*, which is *tracked*, and of its *parent*.

    *side* is Source or Target, the prefix of the fields; *source* names the event source.
    """
    known = tracked.known if tracked else None
    forgotten = tracked.forgotten if tracked else None
    silent = forgotten or f"{source} does not tell"
    of_parent = silent if process.parent_pid is None else f"{source} does not tell which process that was"
    if parent is not None and parent.forgotten:
        of_parent = parent.forgotten
    no_session = known is not None and known.session_id == _NO_SESSION
    for name, value, why in (
        ("ProcessGuid", process.guid, "its start time is not known"),
        ("Image", process.image, silent),
        ("CommandLine", process.command_line, silent),
        ("User", process.user, silent),
        ("TerminalSessionId", process.session_id, "it belongs to no session" if no_session else silent),
        ("StartTime", process.start_time, silent),
        ("ParentProcessId", process.parent_pid, silent),
        ("ParentImage", process.parent_image, of_parent),
        ("ParentCommandLine", process.parent_command_line, of_parent if not process.parent_image else silent),
    ):
        if value is None:
            nothing = forgotten or f"{source} does not tell of this process"
            yield f"{side}{name}", nothing if known is None else why
