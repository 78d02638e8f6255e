"""The driver's binary interface, as in driver/KDetector/KDetectorPublic.h."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from etwdetect.core.rule import RemoteThread

DRIVER: Final = "the KDetector driver"
"""Its name in error messages."""

SERVICE_NAME: Final = "KDetector"
DEVICE_PATH: Final = r"\\.\kdetector"

INTERFACE_VERSION: Final = 1

RECORD: Final = struct.Struct("<q4I")
"""A remote thread, 24 bytes: time (FILETIME), creator pid, creator tid, pid, tid."""

VERSION: Final = struct.Struct("<2I")
"""The answer to IOCTL_VERSION, 8 bytes: interface version, record size in bytes."""

STATISTICS: Final = struct.Struct("<13Q")
"""The answer to IOCTL_STATISTICS, 104 bytes: the fields of Statistics, in order."""

MOST_BOUND: Final = 1_048_576
"""The largest limit that can be configured for the driver's table or queue, in entries."""

TABLE_BOUND_VALUE: Final = "TableBound"
QUEUE_BOUND_VALUE: Final = "QueueBound"


def control_code(number: int) -> int:
    """Return KDetector's control code *number*: CTL_CODE with METHOD_BUFFERED and FILE_ANY_ACCESS.

    >>> hex(control_code(0))
    '0x80002000'
    """
    device_type, function = 0x8000, 0x800 + number
    return device_type << 16 | function << 2


IOCTL_VERSION: Final = control_code(0)
IOCTL_STATISTICS: Final = control_code(1)


class Statistics(NamedTuple):
    """The driver's counters since it was loaded: KD_STATISTICS, thirteen unsigned 64-bit integers.

    threads_seen is first + own + excluded + reported; reported is dropped + queued + delivered.
    """

    threads_seen: int
    first_threads: int
    own_threads: int
    excluded_threads: int
    reported: int
    dropped: int
    table_size: int
    evictions: int
    allocation_failures: int
    table_bound: int
    queue_bound: int
    queued: int
    delivered: int


def parse_records(data: bytes) -> list[RemoteThread]:
    """Return the records in *data*. Raises struct.error unless it holds whole records."""
    return [RemoteThread(*fields) for fields in RECORD.iter_unpack(data)]


def parse_statistics(data: bytes) -> Statistics:
    """Return the statistics in *data*, 104 bytes. Raises struct.error for any other length."""
    return Statistics(*STATISTICS.unpack(data))
