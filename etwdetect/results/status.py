"""What a monitor tells the receivers of its records about itself, so that they can tell silence from death."""

from __future__ import annotations

import hashlib
import json
import os
from enum import Enum
from typing import Any, NamedTuple

from etwdetect._version import __version__
from etwdetect.core import filetime


class StatusKind(Enum):
    """What happened to a monitor."""

    STARTED = "started"
    HEARTBEAT = "heartbeat"
    """Nothing: it runs."""
    LOST = "lost"
    """Events were lost."""
    SESSION_TAKEN = "session-taken"
    """Its session was stopped or changed by another program, or is not delivered any more."""
    DEGRADED = "degraded"
    """It runs without something that it should have."""
    STOPPED = "stopped"

    @property
    def is_warning(self) -> bool:
        """Whether somebody should look at it."""
        return self in {StatusKind.LOST, StatusKind.SESSION_TAKEN, StatusKind.DEGRADED}


class StatusRecord(NamedTuple):
    """What happened on *host* at the FILETIME *time*, *message* in words; the counts are since the start."""

    kind: StatusKind
    time: int
    host: str
    message: str
    events: int
    thread_starts: int
    remote_threads: int
    events_lost: int
    buffers_lost: int


def status_id(record: StatusRecord) -> str:
    """Return the StatusId: 32 hexadecimal digits, the same when the same record is sent again."""
    told = json.dumps([record.host, str(record.time), os.getpid(), record.kind.value, record.message])
    return hashlib.sha256(told.encode()).hexdigest()[:32]


def status_counts(record: StatusRecord) -> dict[str, int]:
    """Return the numbers of *record*, by their names."""
    return {
        "Events": record.events,
        "ThreadStarts": record.thread_starts,
        "RemoteThreads": record.remote_threads,
        "EventsLost": record.events_lost,
        "BuffersLost": record.buffers_lost,
    }


def status_fields(record: StatusRecord) -> dict[str, Any]:
    """Return *record* as the fields of json."""
    return {
        "Status": record.kind.value,
        "StatusId": status_id(record),
        "Computer": record.host,
        "Time": str(record.time),
        "UtcTime": filetime.full_time(filetime.utc(record.time)),
        "Message": record.message,
        "Version": __version__,
        "ProcessId": os.getpid(),
        **status_counts(record),
    }
