"""A remote thread with all that is known around it: what every output format is given.

What is not known is None, and `Detection.absent` says why where there is more to say than that nobody told.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from etwdetect.core.rule import RemoteThread

Detector = Literal["etw", "driver"]


@dataclass(frozen=True, slots=True)
class Process:
    r"""One life of a process id, as far as it is known.

    *start_time* is a FILETIME. *user* is a name such as ``NT AUTHORITY\\SYSTEM`` or, where only that is known,
    the SID in its text form. *guid* is made as Sysmon makes its ProcessGuid, without braces.
    """

    pid: int
    image: str | None = None
    command_line: str | None = None
    parent_pid: int | None = None
    parent_image: str | None = None
    parent_command_line: str | None = None
    user: str | None = None
    session_id: int | None = None
    start_time: int | None = None
    guid: str | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """Where a thread begins to run: the target's *module* (its path), the *offset* in it, and the *function*.

    *function* is known only where the module's export table has one at exactly this place. *pool* says that the
    workers of thread pools, which System makes, start at this address too.
    """

    module: str | None = None
    offset: int | None = None
    function: str | None = None
    pool: bool = False


@dataclass(frozen=True, slots=True)
class Detection:
    """One remote thread, who found it, both processes, where the thread starts, and what kind of thing it is.

    *pointer_size* is that of the machine it happened on, 4 or 8 bytes; *host* is that machine's name.
    *reason* says why *kind* was chosen. *absent* has (what is missing, why), such as
    ``("StartFunction", "no file")``. *sigma* names the Sigma rules that fired. *count* is how many remote threads
    this one stands for: itself, and repeats of it until the FILETIME *last_time*.
    """

    thread: RemoteThread
    detector: Detector
    source: Process
    target: Process
    start: Start = Start()
    pointer_size: int = 8
    host: str | None = None
    kind: str | None = None
    reason: str | None = None
    severity: str | None = None
    absent: tuple[tuple[str, str], ...] = ()
    sigma: tuple[str, ...] = ()
    count: int = 1
    last_time: int | None = None
