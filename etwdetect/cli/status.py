"""The exit statuses, for scripts that call etwdetect."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Status(IntEnum):
    """How a command ended."""

    DONE = 0
    ERROR = 1
    USAGE = 2
    INCOMPLETE = 3
    NOT_ELEVATED = 4
    NOT_POSSIBLE = 5
    FOUND = 10
    FOUND_INCOMPLETE = 11


def of_all(statuses: Iterable[Status], *, found: bool) -> Status:
    """Return the status for several inputs: ERROR beats INCOMPLETE, and *found* beats both."""
    each = set(statuses)
    if found:
        return Status.FOUND if each <= {Status.DONE} else Status.FOUND_INCOMPLETE
    for status in (Status.ERROR, Status.INCOMPLETE):
        if status in each:
            return status
    return Status.DONE
