"""The driver's device: records, statistics, version.

Reading is synchronous and polled. The driver completes every read at once, with nothing when nothing waits,
so an overlapped read would never be pending: there is no event to wait for, and a handle that is polled can
be closed at any moment without cancelling anything.

Python's own open() is of no use here: after one read of 0 bytes it takes the file to be at its end.
"""

from __future__ import annotations

import ctypes
from ctypes import wintypes
from typing import TYPE_CHECKING, Final, NoReturn, Self

from etwdetect.kdetector.errors import (
    DeviceGoneError,
    InUseError,
    KDetectorError,
    NotElevatedError,
    NotRunningError,
    SystemCallError,
    WrongVersionError,
)
from etwdetect.kdetector.interface import (
    DEVICE_PATH,
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

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from etwdetect.core.rule import RemoteThread

RECORDS_PER_READ: Final = 4096
"""The size of the read buffer: 96 KiB, a sixteenth of the driver's queue."""

_FILE_READ_DATA: Final = 0x1
_FILE_SHARE_ALL: Final = 0x7
_OPEN_EXISTING: Final = 3

# Errors of a handle that was good when it was opened.
_GONE: Final = frozenset(
    (
        5,  # ERROR_ACCESS_DENIED: so says Wine; access was granted with the handle, once and for all
        6,  # ERROR_INVALID_HANDLE
        21,  # ERROR_NOT_READY
        55,  # ERROR_DEV_NOT_EXIST
        433,  # ERROR_NO_SUCH_DEVICE
        1617,  # ERROR_DEVICE_REMOVED
    )
)


class Device:
    r"""An open handle of ``\\.\kdetector``; use it in a with statement.

    With *reading* it takes the records out of the driver's queue, which one program at a time can do;
    without, it can only ask for the version and the statistics.

    Raises NotRunningError, NotElevatedError, InUseError, WrongVersionError; elsewhere than on Windows
    UnsupportedSystemError.
    """

    def __init__(self, path: str = DEVICE_PATH, *, reading: bool) -> None:
        self._buffer = ctypes.create_string_buffer(RECORDS_PER_READ * RECORD.size if reading else 0)
        access = _FILE_READ_DATA if reading else 0
        handle = libraries.kernel32().CreateFileW(path, access, _FILE_SHARE_ALL, None, _OPEN_EXISTING, 0, None)
        if handle == libraries.INVALID_HANDLE_VALUE:
            _fail_to_open(libraries.last_error())
        self._handle: int | None = handle
        try:
            self._check_version()
        except KDetectorError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the handle; the driver can't be unloaded as long as one is open. Again is allowed."""
        handle, self._handle = self._handle, None
        if handle is not None:
            libraries.kernel32().CloseHandle(handle)

    def read(self) -> list[RemoteThread]:
        """Take at most RECORDS_PER_READ records from the queue, oldest first; none when it is empty.

        Raises DeviceGoneError when the driver was unloaded meanwhile.
        """
        size = wintypes.DWORD()
        if not libraries.kernel32().ReadFile(
            self._handle, self._buffer, len(self._buffer), ctypes.byref(size), None
        ):
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
        return parse_statistics(self._control(IOCTL_STATISTICS, STATISTICS.size, "asking KDetector for counts"))

    def _check_version(self) -> None:
        answer = self._control(IOCTL_VERSION, VERSION.size, "asking KDetector for its version")
        version, record_size = VERSION.unpack(answer)
        if (version, record_size) != (INTERFACE_VERSION, RECORD.size):
            raise WrongVersionError(version, record_size)

    def _control(self, code: int, size: int, doing: str) -> bytes:
        answer = ctypes.create_string_buffer(size)
        returned = wintypes.DWORD()
        if not libraries.kernel32().DeviceIoControl(
            self._handle, code, None, 0, answer, size, ctypes.byref(returned), None
        ):
            _fail(doing, libraries.last_error())
        return answer.raw[: returned.value]


def _fail_to_open(code: int) -> NoReturn:
    doing = "opening KDetector's device"
    match code:
        # While an unload waits for the last handle, Windows lets nobody open the device, and says the same.
        case libraries.ERROR_FILE_NOT_FOUND | libraries.ERROR_PATH_NOT_FOUND:
            raise NotRunningError
        case libraries.ERROR_ACCESS_DENIED:
            raise NotElevatedError(doing)
        case libraries.ERROR_SHARING_VIOLATION:
            raise InUseError
        case _:
            raise SystemCallError(doing, code, libraries.error_text(code))


def _fail(doing: str, code: int) -> NoReturn:
    if code in _GONE:
        raise DeviceGoneError
    raise SystemCallError(doing, code, libraries.error_text(code))
