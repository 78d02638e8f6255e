"""Whose session it is: names that tell the process that started a session, and whether it still runs.

A session outlives the process that started it. So its name has the process's id and the time of its start, which
no other process has had or will have: a session whose process is gone is one that a crash left behind, and any
other belongs to a program that is running right now.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

PREFIX: Final = "etwdetect-"
_NAME: Final = re.compile(PREFIX + r"(?P<purpose>[a-z]+)-(?P<pid>[0-9]{1,10})-(?P<started>[0-9]{1,16})")


class Owner(NamedTuple):
    """What a session's name tells: the command, and its process; *started* is in ms since 1970 UTC."""

    purpose: str
    pid: int
    started: int


def name_of(owner: Owner) -> str:
    """Return the name of the session of *owner*.

    >>> name_of(Owner("monitor", 4711, 1763900000123))
    'etwdetect-monitor-4711-1763900000123'
    """
    return f"{PREFIX}{owner.purpose}-{owner.pid}-{owner.started}"


def owner_of(name: str) -> Owner | None:
    """Return the owner of the session *name*, or None where it is none of ours."""
    found = _NAME.fullmatch(name)
    return found and Owner(found["purpose"], int(found["pid"]), int(found["started"]))


def ourselves(purpose: str) -> Owner:
    """Return this process as the owner of a session."""
    import psutil  # noqa: PLC0415 (there is none elsewhere than on Windows)

    pid = os.getpid()
    return Owner(purpose, pid, _milliseconds(psutil.Process(pid).create_time()))


def lives(owner: Owner) -> bool:
    """Whether the process that is *owner* still runs; True where Windows does not tell."""
    import psutil  # noqa: PLC0415

    try:
        return _milliseconds(psutil.Process(owner.pid).create_time()) == owner.started
    except psutil.NoSuchProcess:
        return False
    except (psutil.Error, OSError):
        return True


def leaked(names: Iterable[str], lives: Callable[[Owner], bool] = lives) -> Iterator[str]:
    """Yield those of the sessions' *names* that are ours and whose process has gone."""
    for name in names:
        owner = owner_of(name)
        if owner is not None and not lives(owner):
            yield name


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
