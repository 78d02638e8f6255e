"""Installs, starts, stops and uninstalls the driver through the Service Control Manager."""

from __future__ import annotations

import contextlib
import shutil
import sys
from typing import TYPE_CHECKING, Final

from etwdetect.core.errors import NotElevatedError, UnsupportedSystemError
from etwdetect.kdetector.errors import (
    AlreadyInstalledError,
    AlreadyRunningError,
    BlockedError,
    KDetectorError,
    NotInstalledError,
    NotRunningError,
    NotSignedError,
    RefusedError,
    RemovalPendingError,
    StillStoppingError,
)
from etwdetect.kdetector.interface import DRIVER, QUEUE_BOUND_VALUE, SERVICE_NAME, TABLE_BOUND_VALUE
from etwdetect.windows import accounts, libraries, services
from etwdetect.windows.libraries import SystemCallError, require_windows
from etwdetect.windows.services import STOP_SECONDS, State

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PARAMETERS_KEY: Final = rf"SYSTEM\CurrentControlSet\Services\{SERVICE_NAME}\Parameters"

_ERRORS: Final = {
    libraries.ERROR_INVALID_IMAGE_HASH: NotSignedError,
    libraries.ERROR_SERVICE_ALREADY_RUNNING: AlreadyRunningError,
    libraries.ERROR_SERVICE_DOES_NOT_EXIST: NotInstalledError,
    libraries.ERROR_SERVICE_NOT_ACTIVE: NotRunningError,
    libraries.ERROR_SERVICE_MARKED_FOR_DELETE: RemovalPendingError,
    libraries.ERROR_SERVICE_EXISTS: AlreadyInstalledError,
}


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Raise the driver's own errors for those of Windows that have one."""
    require_windows(DRIVER)
    try:
        yield
    except SystemCallError as error:
        if error.code in BlockedError.REASONS:
            raise BlockedError(error.code) from error
        if error.code in _ERRORS:
            raise _ERRORS[error.code] from error
        raise


def state() -> State | None:
    """Return the state of the driver's service, or None if it is not installed."""
    with _explained():
        return services.state(SERVICE_NAME)


def install(image: Path, *, table_bound: int | None = None, queue_bound: int | None = None) -> Path:
    r"""Install the driver file *image*, to be started on demand; return the path it was copied to.

    The file is copied to system32\drivers: only administrators may be able to write where a driver is loaded from,
    or anybody could replace it and run code in the kernel. The bounds, in entries, are stored in the service's
    Parameters key; the driver uses its default for a bound that is None.

    Raises AlreadyInstalledError, RemovalPendingError, NotElevatedError, KDetectorError or SystemCallError, after
    undoing what was done before the error.
    """
    target = file()
    if not image.is_file():
        raise KDetectorError(f"{image}: no such file")
    with _explained():
        # The service first, so that the file of an installed driver is not overwritten.
        path = rf"\SystemRoot\System32\drivers\{target.name}"
        services.create(SERVICE_NAME, path, kind=services.KERNEL_DRIVER, start=services.DEMAND_START)
        try:
            services.write_dwords(PARAMETERS_KEY, {TABLE_BOUND_VALUE: table_bound, QUEUE_BOUND_VALUE: queue_bound})
            _copy(image, target)
        except OSError as error:
            services.delete(SERVICE_NAME)
            raise KDetectorError(f"{error.filename or PARAMETERS_KEY}: {error.strerror}") from error
    return target


def _copy(image: Path, target: Path) -> None:
    """Copy *image*, which may be *target* itself, completely or not at all."""
    new = _unfinished(target)
    try:
        shutil.copyfile(image, new)
        new.replace(target)
    finally:
        new.unlink(missing_ok=True)


def start() -> None:
    """Load the driver.

    Raises NotInstalledError, AlreadyRunningError, NotSignedError, BlockedError, RefusedError, NotElevatedError.
    """
    with _explained():
        try:
            services.start(SERVICE_NAME)
        except NotElevatedError as error:
            if accounts.is_elevated():
                raise RefusedError from error
            raise


def stop(timeout: float = STOP_SECONDS) -> None:
    """Unload the driver and wait until it is unloaded, at most *timeout* seconds.

    Raises NotInstalledError, NotRunningError, NotElevatedError; StillStoppingError after the timeout: the driver
    then unloads as soon as the last handle to its device is closed.
    """
    with _explained():
        if not services.stop(SERVICE_NAME, timeout):
            raise StillStoppingError(timeout)


def uninstall(timeout: float = STOP_SECONDS) -> None:
    """Stop the driver if it runs, delete its service and its file. Raises what stop() raises, or OSError."""
    with contextlib.suppress(NotRunningError):
        stop(timeout)
    with _explained():
        services.delete(SERVICE_NAME)
    delete_file()


def file() -> Path:
    """Return where the file of an installed driver is. Raises UnsupportedSystemError."""
    require_windows(DRIVER)
    # Windows redirects a 32-bit process to another directory, where the driver would not be found.
    if sys.maxsize < 2**32:
        raise UnsupportedSystemError("installing KDetector requires a 64-bit Python on 64-bit Windows")
    return services.system_directory() / "drivers" / f"{SERVICE_NAME}.sys"


def delete_file() -> None:
    """Delete the driver's file, and the unfinished copy of an install that was killed. Raises OSError."""
    file().unlink(missing_ok=True)
    _unfinished(file()).unlink(missing_ok=True)


def _unfinished(target: Path) -> Path:
    return target.with_name(f"{target.name}.new")
