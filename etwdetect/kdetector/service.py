"""Installs, starts, stops and uninstalls the driver through the Service Control Manager."""

from __future__ import annotations

import contextlib
import ctypes
import enum
import shutil
import sys
import time
from typing import TYPE_CHECKING, Final, NoReturn

from etwdetect.core.errors import NotElevatedError, UnsupportedSystemError
from etwdetect.kdetector.errors import (
    AlreadyInstalledError,
    AlreadyRunningError,
    KDetectorError,
    NotInstalledError,
    NotRunningError,
    NotSignedError,
    RemovalPendingError,
    StillStoppingError,
)
from etwdetect.kdetector.interface import DRIVER, QUEUE_BOUND_VALUE, SERVICE_NAME, TABLE_BOUND_VALUE
from etwdetect.windows import libraries, services
from etwdetect.windows.libraries import SystemCallError, require_windows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PARAMETERS_KEY: Final = rf"SYSTEM\CurrentControlSet\Services\{SERVICE_NAME}\Parameters"
STOP_SECONDS: Final = 10.0
"""How long stop() waits by default; a watching client closes its handle within a second."""

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
    """The states of a driver's service, as numbered in winsvc.h."""

    STOPPED = 1
    START_PENDING = 2
    STOP_PENDING = 3
    RUNNING = 4


def state() -> State | None:
    """Return the state of the driver's service, or None if it is not installed."""
    try:
        with _service(_QUERY_STATUS) as service:
            return _state(service)
    except NotInstalledError:
        return None


def install(image: Path, *, table_bound: int | None = None, queue_bound: int | None = None) -> Path:
    r"""Install the driver file *image*, to be started on demand; return the path it was copied to.

    The file is copied to system32\drivers: only administrators may be able to write where a driver is loaded from,
    or anybody could replace it and run code in the kernel. The bounds, in entries, are stored in the service's
    Parameters key; the driver uses its default for a bound that is None.

    Raises AlreadyInstalledError, RemovalPendingError, NotElevatedError, KDetectorError or SystemCallError, after
    undoing what was done before the error.
    """
    target = _drivers_directory() / f"{SERVICE_NAME}.sys"
    if not image.is_file():
        raise KDetectorError(f"{image}: no such file")
    # The service first, so that the file of an installed driver is not overwritten.
    _create_service(rf"\SystemRoot\System32\drivers\{target.name}")
    try:
        services.write_dwords(PARAMETERS_KEY, {TABLE_BOUND_VALUE: table_bound, QUEUE_BOUND_VALUE: queue_bound})
        _copy(image, target)
    except OSError as error:
        _delete_service()
        raise KDetectorError(f"{error.filename or PARAMETERS_KEY}: {error.strerror}") from error
    return target


def _copy(image: Path, target: Path) -> None:
    """Copy *image*, which may be *target* itself, completely or not at all."""
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
        if not services.advapi32().StartServiceW(service, 0, None):
            _fail("starting KDetector", libraries.last_error())


def stop(timeout: float = STOP_SECONDS) -> None:
    """Unload the driver and wait until it is unloaded, at most *timeout* seconds.

    Raises NotInstalledError, NotRunningError, NotElevatedError; StillStoppingError after the timeout: the driver
    then unloads as soon as the last handle to its device is closed.
    """
    deadline = time.monotonic() + timeout
    with _service(_STOP | _QUERY_STATUS) as service:
        status = services.ServiceStatus()
        if not services.advapi32().ControlService(service, _CONTROL_STOP, ctypes.byref(status)):
            code = libraries.last_error()
            # It may be stopping already after an earlier attempt; wait for that.
            if code not in _NOT_STOPPABLE or _state(service) != State.STOP_PENDING:
                _fail("stopping KDetector", code)
        while _state(service) != State.STOPPED:
            if time.monotonic() >= deadline:
                raise StillStoppingError(timeout)
            time.sleep(_POLL_SECONDS)


def uninstall(timeout: float = STOP_SECONDS) -> None:
    """Stop the driver if it runs, delete its service and its file. Raises what stop() raises, or OSError."""
    with contextlib.suppress(NotRunningError):
        stop(timeout)
    _delete_service()
    (_drivers_directory() / f"{SERVICE_NAME}.sys").unlink(missing_ok=True)


@contextlib.contextmanager
def _handle(handle: int | None, doing: str) -> Iterator[int]:
    """Close *handle* on leaving; raise the last error if it is None."""
    if not handle:
        _fail(doing, libraries.last_error())
    try:
        yield handle
    finally:
        services.advapi32().CloseServiceHandle(handle)


@contextlib.contextmanager
def _manager(access: int) -> Iterator[int]:
    require_windows(DRIVER)
    opened = services.advapi32().OpenSCManagerW(None, None, access)
    with _handle(opened, "opening the service manager") as manager:
        yield manager


@contextlib.contextmanager
def _service(access: int) -> Iterator[int]:
    with _manager(_MANAGER_CONNECT) as manager:
        opened = services.advapi32().OpenServiceW(manager, SERVICE_NAME, access)
        with _handle(opened, "opening KDetector's service") as service:
            yield service


def _state(service: int) -> State:
    status = services.ServiceStatus()
    if not services.advapi32().QueryServiceStatus(service, ctypes.byref(status)):
        _fail("querying the state of KDetector", libraries.last_error())
    return State(status.dwCurrentState)


def _create_service(image_path: str) -> None:
    with _manager(_MANAGER_CREATE_SERVICE) as manager:
        created = services.advapi32().CreateServiceW(
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
        if not services.advapi32().DeleteService(service):
            _fail("uninstalling KDetector", libraries.last_error())


def _drivers_directory() -> Path:
    require_windows(DRIVER)
    # Windows redirects a 32-bit process to another directory, where the driver would not be found.
    if sys.maxsize < 2**32:
        raise UnsupportedSystemError("installing KDetector requires a 64-bit Python on 64-bit Windows")
    return services.system_directory() / "drivers"


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
            raise SystemCallError(doing, code)
