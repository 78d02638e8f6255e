"""The exit statuses, for scripts that call etwdetect."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from etwdetect.core.errors import MissingExtraError, NotATraceError, NotElevatedError, UnsupportedSystemError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from etwdetect.core.errors import EtwDetectError


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


def status_of(error: EtwDetectError) -> Status:
    """Return the status that *error* stands for."""
    match error:
        case NotElevatedError():
            return Status.NOT_ELEVATED
        case UnsupportedSystemError() | MissingExtraError() | NotATraceError(__cause__=MissingExtraError()):
            return Status.NOT_POSSIBLE
    return Status.ERROR


def of_all(statuses: Iterable[Status], *, found: bool) -> Status:
    """Return the status for several inputs: ERROR beats NOT_POSSIBLE, that INCOMPLETE, and *found* beats all."""
    each = set(statuses)
    if found:
        return Status.FOUND if each <= {Status.DONE} else Status.FOUND_INCOMPLETE
    for status in (Status.ERROR, Status.NOT_POSSIBLE, Status.INCOMPLETE):
        if status in each:
            return status
    return Status.DONE
