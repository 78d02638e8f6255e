"""Session names that identify the process that started the session.

A session outlives its process. So its name contains the id and the start time of the process, a pair that no other
process has: a session whose process has exited is orphaned, left by a crash, and any other is in use. The second
session of a process and each later one have a number too: the name of a stopped session stays taken for a moment.
"""

from __future__ import annotations

import itertools
import os
import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

PREFIX: Final = "etwdetect-"
_NAME: Final = re.compile(
    PREFIX + r"(?P<purpose>[a-z]+)-(?P<pid>[0-9]{1,10})-(?P<started>[0-9]{1,16})(-[0-9]{1,10})?"
)
_numbers: Final = itertools.count(1)


class Owner(NamedTuple):
    """The contents of a session's name: the command and its process; *started* is in ms since 1970 UTC."""

    purpose: str
    pid: int
    started: int


def name_of(owner: Owner, number: int = 1) -> str:
    """Return the name of the session of *owner* with this *number*.

    >>> name_of(Owner("monitor", 4711, 1763900000123))
    'etwdetect-monitor-4711-1763900000123'
    >>> name_of(Owner("monitor", 4711, 1763900000123), 2)
    'etwdetect-monitor-4711-1763900000123-2'
    """
    name = f"{PREFIX}{owner.purpose}-{owner.pid}-{owner.started}"
    return name if number == 1 else f"{name}-{number}"


def new_name(purpose: str) -> str:
    """Return a name for a new session of this process, which none of its sessions had before."""
    return name_of(this_process(purpose), next(_numbers))


def owner_of(name: str) -> Owner | None:
    """Return the owner of the session *name*, or None if etwdetect did not start it."""
    found = _NAME.fullmatch(name)
    return found and Owner(found["purpose"], int(found["pid"]), int(found["started"]))


def this_process(purpose: str) -> Owner:
    """Return this process as the owner of a session for the command *purpose*."""
    import psutil  # noqa: PLC0415 (lazy import: installed on Windows only)

    pid = os.getpid()
    return Owner(purpose, pid, _milliseconds(psutil.Process(pid).create_time()))


def is_running(owner: Owner) -> bool:
    """Whether the process *owner* still runs; True if Windows does not say."""
    import psutil  # noqa: PLC0415

    try:
        return _milliseconds(psutil.Process(owner.pid).create_time()) == owner.started
    except psutil.NoSuchProcess:
        return False
    except (psutil.Error, OSError):
        return True


def orphaned(names: Iterable[str], is_running: Callable[[Owner], bool] = is_running) -> Iterator[str]:
    """Yield those of the sessions' *names* that etwdetect started in a process that has exited."""
    for name in names:
        owner = owner_of(name)
        if owner is not None and not is_running(owner):
            yield name


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
