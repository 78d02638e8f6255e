"""The driver's device: records, statistics, version.

Reading is synchronous and polled. The driver completes every read at once, with 0 bytes if its queue is empty, so
an overlapped read would never be pending: there is no event to wait for, and a polled handle can be closed at any
time without cancelling anything.

Python's own open() does not work here: it treats a read of 0 bytes as the end of the file.
"""

from __future__ import annotations

import ctypes
from ctypes import wintypes
from typing import TYPE_CHECKING, Final, NoReturn, Self

from etwdetect.core.errors import EtwDetectError, NotElevatedError
from etwdetect.kdetector.errors import (
    DeviceGoneError,
    InUseError,
    NotRunningError,
    WrongVersionError,
)
from etwdetect.kdetector.interface import (
    DEVICE_PATH,
    DRIVER,
    INTERFACE_VERSION,
    IOCTL_STATISTICS,
    IOCTL_VERSION,
    RECORD,
    STATISTICS,
    VERSION,
    Statistics,
    parse_records,
    parse_statistics,
)
from etwdetect.windows import libraries
from etwdetect.windows.devices import kernel32
from etwdetect.windows.libraries import SystemCallError, require_windows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from etwdetect.core.rule import RemoteThread

RECORDS_PER_READ: Final = 4096
"""The size of the read buffer: 96 KiB, a sixteenth of the driver's queue."""

_FILE_READ_DATA: Final = 0x1
_FILE_SHARE_ALL: Final = 0x7
_OPEN_EXISTING: Final = 3

# The errors of a handle whose driver was unloaded.
_GONE: Final = frozenset(
    (
        5,  # ERROR_ACCESS_DENIED: Wine's; access rights were granted when it was opened
        6,  # ERROR_INVALID_HANDLE
        21,  # ERROR_NOT_READY
        55,  # ERROR_DEV_NOT_EXIST
        433,  # ERROR_NO_SUCH_DEVICE
        1617,  # ERROR_DEVICE_REMOVED
    )
)


class Device:
    r"""An open handle to ``\\.\kdetector``; use it in a with statement.

    With *reading* it takes records from the driver's queue, which one program at a time can do; without, it can
    only query the version and the statistics.

    Raises NotRunningError, NotElevatedError, InUseError, WrongVersionError or SystemCallError;
    UnsupportedSystemError elsewhere than on Windows.
    """

    def __init__(self, path: str = DEVICE_PATH, *, reading: bool) -> None:
        self._buffer = ctypes.create_string_buffer(RECORDS_PER_READ * RECORD.size if reading else 0)
        require_windows(DRIVER)
        access = _FILE_READ_DATA if reading else 0
        handle = kernel32().CreateFileW(path, access, _FILE_SHARE_ALL, None, _OPEN_EXISTING, 0, None)
        if handle == libraries.INVALID_HANDLE_VALUE:
            _fail_to_open(libraries.last_error())
        self._handle: int | None = handle
        try:
            self._check_version()
        except EtwDetectError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the handle, which lets the driver unload; calling it again has no effect."""
        handle, self._handle = self._handle, None
        if handle is not None:
            kernel32().CloseHandle(handle)

    def read(self) -> list[RemoteThread]:
        """Take at most RECORDS_PER_READ records from the queue, oldest first; an empty list if it is empty.

        Raises DeviceGoneError if the driver was unloaded meanwhile.
        """
        size = wintypes.DWORD()
        if not kernel32().ReadFile(self._handle, self._buffer, len(self._buffer), ctypes.byref(size), None):
            _fail("reading from KDetector", libraries.last_error())
        return parse_records(ctypes.string_at(self._buffer, size.value))

    def drain(self) -> Iterator[RemoteThread]:
        """Take records until the queue is empty. Raises DeviceGoneError, as read() does."""
        while records := self.read():
            yield from records
            if len(records) < RECORDS_PER_READ:
                return

    def statistics(self) -> Statistics:
        """Return what the driver counted since it was loaded. Raises DeviceGoneError."""
        return parse_statistics(
            self._control(IOCTL_STATISTICS, STATISTICS.size, "querying the statistics of KDetector")
        )

    def _check_version(self) -> None:
        answer = self._control(IOCTL_VERSION, VERSION.size, "querying the version of KDetector")
        version, record_size = VERSION.unpack(answer)
        if (version, record_size) != (INTERFACE_VERSION, RECORD.size):
            raise WrongVersionError(version, record_size)

    def _control(self, code: int, size: int, doing: str) -> bytes:
        answer = ctypes.create_string_buffer(size)
        returned = wintypes.DWORD()
        if not kernel32().DeviceIoControl(self._handle, code, None, 0, answer, size, ctypes.byref(returned), None):
            _fail(doing, libraries.last_error())
        return answer.raw[: returned.value]


def _fail_to_open(code: int) -> NoReturn:
    doing = "opening KDetector's device"
    match code:
        # The same errors while an unload waits for the last handle to be closed.
        case libraries.ERROR_FILE_NOT_FOUND | libraries.ERROR_PATH_NOT_FOUND:
            raise NotRunningError
        case libraries.ERROR_ACCESS_DENIED:
            raise NotElevatedError(doing)
        case libraries.ERROR_SHARING_VIOLATION:
            raise InUseError
        case _:
            raise SystemCallError(doing, code)


def _fail(doing: str, code: int) -> NoReturn:
    if code in _GONE:
        raise DeviceGoneError
    raise SystemCallError(doing, code)
