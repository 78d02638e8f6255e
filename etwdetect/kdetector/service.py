"""The driver as a service: install, start, stop, uninstall, through the Service Control Manager."""

from __future__ import annotations

import contextlib
import ctypes
import enum
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from etwdetect.kdetector.errors import (
    AlreadyInstalledError,
    AlreadyRunningError,
    KDetectorError,
    NotElevatedError,
    NotInstalledError,
    NotRunningError,
    NotSignedError,
    RemovalPendingError,
    StillStoppingError,
    SystemCallError,
    UnsupportedSystemError,
)
from etwdetect.kdetector.interface import QUEUE_BOUND_VALUE, SERVICE_NAME, TABLE_BOUND_VALUE
from etwdetect.windows import libraries

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PARAMETERS_KEY: Final = rf"SYSTEM\CurrentControlSet\Services\{SERVICE_NAME}\Parameters"
STOP_SECONDS: Final = 10.0
"""How long stop() waits by default; a watching client closes its handle well within a second."""

_POLL_SECONDS: Final = 0.1

_MANAGER_CONNECT: Final = 0x1
_MANAGER_CREATE_SERVICE: Final = 0x2
_QUERY_STATUS: Final = 0x4
_START: Final = 0x10
_STOP: Final = 0x20
_DELETE: Final = 0x10000

_KERNEL_DRIVER: Final = 1
_DEMAND_START: Final = 3
_ERROR_NORMAL: Final = 1
_CONTROL_STOP: Final = 1

_NOT_STOPPABLE: Final = (libraries.ERROR_INVALID_SERVICE_CONTROL, libraries.ERROR_SERVICE_CANNOT_ACCEPT_CTRL)


class State(enum.IntEnum):
    """The states of a service, as winsvc.h numbers them, that a driver can be in."""

    STOPPED = 1
    START_PENDING = 2
    STOP_PENDING = 3
    RUNNING = 4


def state() -> State | None:
    """Return the state of the driver's service; None when it is not installed."""
    try:
        with _service(_QUERY_STATUS) as service:
            return _state(service)
    except NotInstalledError:
        return None


def install(image: Path, *, table_bound: int | None = None, queue_bound: int | None = None) -> Path:
    r"""Install the driver in file *image*, to be started on demand; return where it was put.

    The file is copied to system32\drivers: where a driver is loaded from must be writable by administrators
    alone, or anybody could replace it and run code in the kernel. The bounds, in entries, go into the
    service's Parameters key; without one the driver uses its default.

    Raises AlreadyInstalledError, RemovalPendingError, NotElevatedError, KDetectorError; what was done before
    the error is undone.
    """
    target = _drivers_directory() / f"{SERVICE_NAME}.sys"
    if not image.is_file():
        raise KDetectorError(f"{image}: no such file")
    # The service first: an installed driver's file is not overwritten.
    _create_service(rf"\SystemRoot\System32\drivers\{target.name}")
    try:
        _write_parameters({TABLE_BOUND_VALUE: table_bound, QUEUE_BOUND_VALUE: queue_bound})
        _copy(image, target)
    except OSError as error:
        _delete_service()
        raise KDetectorError(f"{error.filename or PARAMETERS_KEY}: {error.strerror}") from error
    return target


def _copy(image: Path, target: Path) -> None:
    """Copy the whole of *image*, which *target* itself may be, or nothing."""
    new = target.with_name(f"{target.name}.new")
    try:
        shutil.copyfile(image, new)
        new.replace(target)
    finally:
        new.unlink(missing_ok=True)


def start() -> None:
    """Load the driver.

    Raises NotInstalledError, AlreadyRunningError, NotSignedError, NotElevatedError.
    """
    with _service(_START) as service:
        if not libraries.advapi32().StartServiceW(service, 0, None):
            _fail("starting KDetector", libraries.last_error())


def stop(timeout: float = STOP_SECONDS) -> None:
    """Unload the driver, and wait for that, *timeout* seconds at most.

    Raises NotInstalledError, NotRunningError, NotElevatedError; StillStoppingError when time is up: the
    driver then unloads by itself as soon as the last handle of its device is closed.
    """
    deadline = time.monotonic() + timeout
    with _service(_STOP | _QUERY_STATUS) as service:
        status = libraries.ServiceStatus()
        if not libraries.advapi32().ControlService(service, _CONTROL_STOP, ctypes.byref(status)):
            code = libraries.last_error()
            # It may be stopping already, since an earlier try: that one is waited for.
            if code not in _NOT_STOPPABLE or _state(service) != State.STOP_PENDING:
                _fail("stopping KDetector", code)
        while _state(service) != State.STOPPED:
            if time.monotonic() >= deadline:
                raise StillStoppingError(timeout)
            time.sleep(_POLL_SECONDS)


def uninstall(timeout: float = STOP_SECONDS) -> None:
    """Stop the driver if it runs, delete its service and its file. Raises what stop() raises, and OSError."""
    with contextlib.suppress(NotRunningError):
        stop(timeout)
    _delete_service()
    (_drivers_directory() / f"{SERVICE_NAME}.sys").unlink(missing_ok=True)


@contextlib.contextmanager
def _handle(handle: int | None, doing: str) -> Iterator[int]:
    """Close *handle* at the end; raise the last error if there is none."""
    if not handle:
        _fail(doing, libraries.last_error())
    try:
        yield handle
    finally:
        libraries.advapi32().CloseServiceHandle(handle)


@contextlib.contextmanager
def _manager(access: int) -> Iterator[int]:
    opened = libraries.advapi32().OpenSCManagerW(None, None, access)
    with _handle(opened, "opening the service manager") as manager:
        yield manager


@contextlib.contextmanager
def _service(access: int) -> Iterator[int]:
    with _manager(_MANAGER_CONNECT) as manager:
        opened = libraries.advapi32().OpenServiceW(manager, SERVICE_NAME, access)
        with _handle(opened, "opening KDetector's service") as service:
            yield service


def _state(service: int) -> State:
    status = libraries.ServiceStatus()
    if not libraries.advapi32().QueryServiceStatus(service, ctypes.byref(status)):
        _fail("asking for KDetector's state", libraries.last_error())
    return State(status.dwCurrentState)


def _create_service(image_path: str) -> None:
    with _manager(_MANAGER_CREATE_SERVICE) as manager:
        created = libraries.advapi32().CreateServiceW(
            manager,
            SERVICE_NAME,
            SERVICE_NAME,
            _QUERY_STATUS,
            _KERNEL_DRIVER,
            _DEMAND_START,
            _ERROR_NORMAL,
            image_path,
            None,
            None,
            None,
            None,
            None,
        )
        with _handle(created, "installing KDetector"):
            pass


def _delete_service() -> None:
    with _service(_DELETE) as service:
        if not libraries.advapi32().DeleteService(service):
            _fail("uninstalling KDetector", libraries.last_error())


def _write_parameters(values: Mapping[str, int | None]) -> None:
    # Elsewhere nobody gets as far as here.
    if sys.platform == "win32":
        import winreg  # noqa: PLC0415 (only Windows has it)

        access = winreg.KEY_SET_VALUE
        with winreg.CreateKeyEx(winreg.HKEY_LOCAL_MACHINE, PARAMETERS_KEY, access=access) as key:
            for name, value in values.items():
                if value is not None:
                    winreg.SetValueEx(key, name, 0, winreg.REG_DWORD, value)


def _drivers_directory() -> Path:
    # A 32-bit process is shown another directory in its place, and the driver would not be found there.
    if sys.maxsize < 2**32:
        raise UnsupportedSystemError("KDetector is for 64-bit Windows and is installed by a 64-bit Python")
    buffer = ctypes.create_unicode_buffer(260)
    if not libraries.kernel32().GetSystemDirectoryW(buffer, len(buffer)):
        _fail("asking for the system directory", libraries.last_error())
    return Path(buffer.value) / "drivers"


def _fail(doing: str, code: int) -> NoReturn:
    match code:
        case libraries.ERROR_ACCESS_DENIED:
            raise NotElevatedError(doing)
        case libraries.ERROR_INVALID_IMAGE_HASH:
            raise NotSignedError
        case libraries.ERROR_SERVICE_ALREADY_RUNNING:
            raise AlreadyRunningError
        case libraries.ERROR_SERVICE_DOES_NOT_EXIST:
            raise NotInstalledError
        case libraries.ERROR_SERVICE_NOT_ACTIVE:
            raise NotRunningError
        case libraries.ERROR_SERVICE_MARKED_FOR_DELETE:
            raise RemovalPendingError
        case libraries.ERROR_SERVICE_EXISTS:
            raise AlreadyInstalledError
        case _:
            raise SystemCallError(doing, code, libraries.error_text(code))
