"""The Service Control Manager: installs, starts, stops and removes services, of drivers and of programs.

Each function may raise SystemCallError with the code of Windows, or NotElevatedError.
"""

from __future__ import annotations

import contextlib
import ctypes
import enum
import functools
import sys
import time
from ctypes import POINTER, wintypes
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final, NoReturn

from etwdetect.core.errors import NotElevatedError
from etwdetect.windows import libraries
from etwdetect.windows.libraries import SystemCallError, declare, last_error, load_library

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

STOP_SECONDS: Final = 10.0
"""How long `stop` waits by default."""

_POLL_SECONDS: Final = 0.1

MANAGER_CONNECT: Final = 0x1
MANAGER_CREATE_SERVICE: Final = 0x2
_CHANGE_CONFIG: Final = 0x2
_QUERY_STATUS: Final = 0x4
_START: Final = 0x10
_STOP: Final = 0x20
_DELETE: Final = 0x10000

KERNEL_DRIVER: Final = 0x1
OWN_PROCESS: Final = 0x10
AUTO_START: Final = 2
DEMAND_START: Final = 3
_ERROR_NORMAL: Final = 1
_NO_CHANGE: Final = 0xFFFF_FFFF
_CONTROL_STOP: Final = 1

_DESCRIPTION: Final = 1
_FAILURE_ACTIONS: Final = 2
_FAILURE_ACTIONS_FLAG: Final = 4
_RESTART: Final = 1

_NOT_STOPPABLE: Final = (libraries.ERROR_INVALID_SERVICE_CONTROL, libraries.ERROR_SERVICE_CANNOT_ACCEPT_CTRL)


class State(enum.IntEnum):
    """The states of a service, as numbered in winsvc.h; those of pausing are never ours."""

    STOPPED = 1
    START_PENDING = 2
    STOP_PENDING = 3
    RUNNING = 4


class ServiceStatus(ctypes.Structure):
    """SERVICE_STATUS of winsvc.h, 28 bytes."""

    _fields_: ClassVar = [
        ("dwServiceType", wintypes.DWORD),
        ("dwCurrentState", wintypes.DWORD),
        ("dwControlsAccepted", wintypes.DWORD),
        ("dwWin32ExitCode", wintypes.DWORD),
        ("dwServiceSpecificExitCode", wintypes.DWORD),
        ("dwCheckPoint", wintypes.DWORD),
        ("dwWaitHint", wintypes.DWORD),
    ]


class _FailureActions(ctypes.Structure):
    """SERVICE_FAILURE_ACTIONSW of winsvc.h, 40 bytes on x64; each action is two DWORDs, kind and delay in ms."""

    _fields_: ClassVar = [
        ("dwResetPeriod", wintypes.DWORD),
        ("lpRebootMsg", wintypes.LPCWSTR),
        ("lpCommand", wintypes.LPCWSTR),
        ("cActions", wintypes.DWORD),
        ("lpsaActions", ctypes.c_void_p),
    ]


@functools.cache
def advapi32() -> ctypes.CDLL:
    """Return advapi32.dll with the prototypes of the Service Control Manager's functions."""
    library = load_library("advapi32", "the Service Control Manager")
    handle, dword, flag, text = wintypes.HANDLE, wintypes.DWORD, wintypes.BOOL, wintypes.LPCWSTR
    declare(library, "OpenSCManagerW", handle, text, text, dword)
    declare(library, "OpenServiceW", handle, handle, text, dword)
    declare(
        library, "CreateServiceW", handle,
        handle, text, text, dword, dword, dword, dword, text, text, POINTER(dword), text, text, text,
    )  # fmt: skip
    declare(
        library, "ChangeServiceConfigW", flag,
        handle, dword, dword, dword, text, text, POINTER(dword), text, text, text, text,
    )  # fmt: skip
    declare(library, "ChangeServiceConfig2W", flag, handle, dword, ctypes.c_void_p)
    declare(library, "StartServiceW", flag, handle, dword, POINTER(text))
    declare(library, "ControlService", flag, handle, dword, POINTER(ServiceStatus))
    declare(library, "QueryServiceStatus", flag, handle, POINTER(ServiceStatus))
    declare(library, "DeleteService", flag, handle)
    declare(library, "CloseServiceHandle", flag, handle)
    return library


@contextlib.contextmanager
def manager(access: int) -> Iterator[int]:
    """Open the service manager."""
    with _handle(advapi32().OpenSCManagerW(None, None, access), "opening the service manager") as opened:
        yield opened


@contextlib.contextmanager
def _service(name: str, access: int) -> Iterator[int]:
    with (
        manager(MANAGER_CONNECT) as connected,
        _handle(advapi32().OpenServiceW(connected, name, access), f"opening {name}'s service") as opened,
    ):
        yield opened


def status(name: str) -> ServiceStatus | None:
    """Return the status of the service *name*, or None if it is not installed."""
    try:
        with _service(name, _QUERY_STATUS) as service:
            return _status(service, name)
    except SystemCallError as error:
        if error.code == libraries.ERROR_SERVICE_DOES_NOT_EXIST:
            return None
        raise


def state(name: str) -> State | None:
    """Return the state of the service *name*, or None if it is not installed."""
    found = status(name)
    return None if found is None else State(found.dwCurrentState)


def create(name: str, command: str, *, kind: int, start: int, display: str | None = None) -> None:
    """Install the service *name*: *command* is the path of a driver, or the command line of a program."""
    with manager(MANAGER_CREATE_SERVICE) as connected:
        created = advapi32().CreateServiceW(
            *(connected, name, display or name, _QUERY_STATUS, kind, start, _ERROR_NORMAL, command),
            *(None, None, None, None, None),
        )
        with _handle(created, f"installing {name}"):
            pass


def change_command(name: str, command: str) -> None:
    """Let the service *name* run *command* from its next start on."""
    with _service(name, _CHANGE_CONFIG) as service:
        unchanged = (_NO_CHANGE, _NO_CHANGE, _NO_CHANGE)
        if not advapi32().ChangeServiceConfigW(service, *unchanged, command, *[None] * 6):
            _fail(f"changing {name}", last_error())


def describe(name: str, description: str) -> None:
    """Set the description that the Services window shows."""
    _configure(name, _CHANGE_CONFIG, _DESCRIPTION, ctypes.pointer(wintypes.LPCWSTR(description)))


def restart_on_failure(name: str, delays: tuple[int, ...], reset_seconds: int) -> None:
    """Have Windows restart the service *name* when it ends by itself: after *delays* seconds, the last one again.

    The count of failures begins anew when it ran for *reset_seconds*. An end with an exit status counts too.
    """
    numbers = [number for delay in delays for number in (_RESTART, delay * 1000)]
    actions = (wintypes.DWORD * len(numbers))(*numbers)
    failure = _FailureActions(reset_seconds, None, None, len(delays), ctypes.addressof(actions))
    # Restarting is a right of its own.
    _configure(name, _CHANGE_CONFIG | _START, _FAILURE_ACTIONS, ctypes.pointer(failure))
    _configure(name, _CHANGE_CONFIG, _FAILURE_ACTIONS_FLAG, ctypes.pointer(wintypes.BOOL(1)))


def _configure(name: str, access: int, what: int, info: object) -> None:
    with _service(name, access) as service:
        if not advapi32().ChangeServiceConfig2W(service, what, info):
            _fail(f"configuring {name}", last_error())


def delete(name: str) -> None:
    """Remove the service *name*, at once or when its last handle is closed."""
    with _service(name, _DELETE) as service:
        if not advapi32().DeleteService(service):
            _fail(f"uninstalling {name}", last_error())


def start(name: str) -> None:
    """Have the service *name* started; a program's may still be starting then."""
    with _service(name, _START) as service:
        if not advapi32().StartServiceW(service, 0, None):
            _fail(f"starting {name}", last_error())


def stop(name: str, timeout: float = STOP_SECONDS) -> bool:
    """Stop the service *name*; return whether it has stopped within *timeout* seconds."""
    with _service(name, _STOP | _QUERY_STATUS) as service:
        if not advapi32().ControlService(service, _CONTROL_STOP, ctypes.byref(ServiceStatus())):
            code = last_error()
            # It may be stopping already after an earlier attempt; wait for that.
            if code not in _NOT_STOPPABLE or _status(service, name).dwCurrentState != State.STOP_PENDING:
                _fail(f"stopping {name}", code)
        return _wait(lambda: _status(service, name).dwCurrentState == State.STOPPED, timeout)


def wait_until_started(name: str, timeout: float) -> State:
    """Wait while the service *name* is starting, at most *timeout* seconds; return its state then."""
    with _service(name, _QUERY_STATUS) as service:
        _wait(lambda: _status(service, name).dwCurrentState != State.START_PENDING, timeout)
        return State(_status(service, name).dwCurrentState)


def wait_until_gone(name: str, timeout: float) -> bool:
    """Wait, at most *timeout* seconds, until the deleted service *name* is gone; return whether it is."""
    return _wait(lambda: status(name) is None, timeout)


def _wait(is_so: Callable[[], bool], timeout: float) -> bool:
    """Ask *is_so* again and again, for at most *timeout* seconds; return whether it was true."""
    deadline = time.monotonic() + timeout
    while not is_so():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _status(service: int, name: str) -> ServiceStatus:
    found = ServiceStatus()
    if not advapi32().QueryServiceStatus(service, ctypes.byref(found)):
        _fail(f"querying the state of {name}", last_error())
    return found


@contextlib.contextmanager
def _handle(handle: int | None, doing: str) -> Iterator[int]:
    """Close *handle* on leaving; raise the last error if it is None."""
    if not handle:
        _fail(doing, last_error())
    try:
        yield handle
    finally:
        advapi32().CloseServiceHandle(handle)


def _fail(doing: str, code: int) -> NoReturn:
    if code == libraries.ERROR_ACCESS_DENIED:
        raise NotElevatedError(doing)
    raise SystemCallError(doing, code)


def system_directory() -> Path:
    """Return the system directory. Raises SystemCallError."""
    library = load_library("kernel32", "the system directory")
    declare(library, "GetSystemDirectoryW", wintypes.UINT, wintypes.LPWSTR, wintypes.UINT)
    buffer = ctypes.create_unicode_buffer(260)
    if not library.GetSystemDirectoryW(buffer, len(buffer)):
        raise SystemCallError("getting the system directory", last_error())
    return Path(buffer.value)


def write_dwords(key_path: str, values: Mapping[str, int | None]) -> None:
    """Set each REG_DWORD of *values* that is not None below HKEY_LOCAL_MACHINE. Raises OSError."""
    if sys.platform == "win32":
        import winreg  # noqa: PLC0415 (exists on Windows only)

        with winreg.CreateKeyEx(winreg.HKEY_LOCAL_MACHINE, key_path, access=winreg.KEY_SET_VALUE) as key:
            for name, value in values.items():
                if value is not None:
                    winreg.SetValueEx(key, name, 0, winreg.REG_DWORD, value)


def write_text(key_path: str, name: str, value: str | None) -> None:
    """Set the REG_SZ *name* below HKEY_LOCAL_MACHINE, or remove it where *value* is None. Raises OSError."""
    if sys.platform == "win32":
        import winreg  # noqa: PLC0415 (exists on Windows only)

        with winreg.CreateKeyEx(winreg.HKEY_LOCAL_MACHINE, key_path, access=winreg.KEY_SET_VALUE) as key:
            if value is not None:
                winreg.SetValueEx(key, name, 0, winreg.REG_SZ, value)
                return
            with contextlib.suppress(FileNotFoundError):
                winreg.DeleteValue(key, name)


def read_text(key_path: str, name: str) -> str | None:
    """Return the text value *name* below HKEY_LOCAL_MACHINE, or None without one."""
    if sys.platform == "win32":
        import winreg  # noqa: PLC0415 (exists on Windows only)

        with contextlib.suppress(OSError), winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, key_path) as key:
            return str(winreg.QueryValueEx(key, name)[0])
    return None
