"""From the life of a process to the words that a detection has for it, and why some are missing."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from etwdetect.core.filetime import TICKS_PER_SECOND, UNIX_EPOCH
from etwdetect.enrich.accounts import account
from etwdetect.enrich.detection import Process
from etwdetect.enrich.process_tracker import start_time

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etwdetect.enrich.paths import Paths
    from etwdetect.enrich.process_tracker import Life, Told

_NO_SESSION: Final = 0xFFFF_FFFF


def process_guid(machine: str, started: int, pid: int) -> str:
    """Return a name for the life of process *pid* that *started* at a FILETIME, made as Sysmon makes ProcessGuid.

    The first group stands for the machine: a hash of its name in lower case. The next two are the start in
    seconds since 1970, the lower half first. The last two, which Sysmon takes from the process's token, are the
    start's lower 32 bits (in 100 ns) and the process id, so the same life has the same name in every trace.

    >>> process_guid("HOST1", 133_702_128_152_535_104, 7608)
    '4F213BB6-B0CF-66DC-8E3E-E04000001DB8'
    """
    first = int.from_bytes(
        blake2b(machine.lower().encode("utf-8", "surrogatepass"), digest_size=4).digest(), "big"
    )
    seconds = max(started - UNIX_EPOCH, 0) // TICKS_PER_SECOND & 0xFFFF_FFFF
    rest = f"{started & 0xFFFF_FFFF:08X}{pid:08X}"
    return f"{first:08X}-{seconds & 0xFFFF:04X}-{seconds >> 16:04X}-{rest[:4]}-{rest[4:]}"


def describe(pid: int, life: Life | None, parent: Told | None, paths: Paths, machine: str) -> Process:
    """Return what is known of process *pid*, whose *life* and *parent* these are."""
    told = life.told if life else None
    if life is None or told is None:
        return Process(pid)
    image = life.image
    started = start_time(told)
    return Process(
        pid,
        image=paths.dos(image) if image else None,
        command_line=told.command_line or None,
        parent_pid=told.parent_pid,
        parent_image=paths.dos(parent.image) if parent and parent.image else None,
        parent_command_line=(parent.command_line or None) if parent else None,
        user=account(told.sid) if told.sid else None,
        session_id=None if told.session_id == _NO_SESSION else told.session_id,
        start_time=started,
        guid=None if started is None else process_guid(machine, started, pid),
    )


def absences(side: str, process: Process, life: Life | None, source: str) -> Iterator[tuple[str, str]]:
    """Yield (field, why) for what is not known of *process*, the *side* Source or Target; *source* told of it."""
    told = life.told if life else None
    silent = f"{source} does not tell"
    of_parent = silent if process.parent_pid is None else f"{source} does not tell which process that was"
    no_session = told is not None and told.session_id == _NO_SESSION
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
            yield f"{side}{name}", why if told is not None else f"{source} does not tell of this process"
