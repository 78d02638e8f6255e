"""This process as a Windows service: it connects to the service manager, says how it is, and is told to stop."""

from __future__ import annotations

import ctypes
import sys
import threading
from ctypes import POINTER, wintypes
from typing import TYPE_CHECKING, Any, ClassVar, Final

from etwdetect.windows.libraries import SystemCallError, declare, last_error, load_library, not_windows
from etwdetect.windows.services import OWN_PROCESS, ServiceStatus, State

if TYPE_CHECKING:
    from collections.abc import Callable

ERROR_SERVICE_SPECIFIC: Final = 1066
"""ERROR_SERVICE_SPECIFIC_ERROR: the exit code is the service's own."""

_SUBJECT: Final = "running as a service"
_ACCEPT_STOP: Final = 0x1
_ACCEPT_SHUTDOWN: Final = 0x4
_STOP: Final = 1
_INTERROGATE: Final = 4
_SHUTDOWN: Final = 5
_NO_ERROR: Final = 0
_CALL_NOT_IMPLEMENTED: Final = 120
_CONNECT_SECONDS: Final = 30.0
_WAIT_HINT: Final = 60_000
"""How many milliseconds a start or stop may take before the manager reports that the service hangs."""


class _Entry(ctypes.Structure):
    """SERVICE_TABLE_ENTRYW of winsvc.h, 16 bytes on x64."""

    _fields_: ClassVar = [("lpServiceName", wintypes.LPCWSTR), ("lpServiceProc", ctypes.c_void_p)]


class ServiceProcess:
    """The service *name*, as which the service manager started this process; *stop* is called once, to end it.

    The service manager calls on threads of its own; the main thread is left to the service's work.
    """

    def __init__(self, name: str, stop: Callable[[], object]) -> None:
        self.was_stopped = False
        """Whether the service manager told it to end."""
        self._name = name
        self._stop = stop
        self._handle: int | None = None
        self._error: int | None = None
        self._called = threading.Event()
        self._over = threading.Event()
        self._status = ServiceStatus(dwServiceType=OWN_PROCESS, dwCurrentState=State.START_PENDING)
        self._callbacks: list[Any] = []

    def connect(self) -> None:
        """Connect to the service manager, which then waits for `running`. Raises SystemCallError.

        Its code is 1063 where the service manager did not start this process.
        """
        main = _callback(None, wintypes.DWORD, ctypes.c_void_p)(self._main)
        control = _callback(wintypes.DWORD, wintypes.DWORD, wintypes.DWORD, ctypes.c_void_p, ctypes.c_void_p)
        self._callbacks = [main, control(self._control)]
        self._entries = (_Entry * 2)(_Entry(self._name, ctypes.cast(main, ctypes.c_void_p)))
        threading.Thread(target=self._dispatch, name="service manager", daemon=True).start()
        self._called.wait(_CONNECT_SECONDS)
        if self._error is not None or self._handle is None:
            raise SystemCallError("connecting to the service manager", self._error or 0)

    def running(self) -> None:
        """Say that the service runs."""
        self._report(State.RUNNING)

    def stopped(self, status: int) -> None:
        """Say that the service has ended, with its own exit *status*; Windows may end the process then."""
        self._status.dwWin32ExitCode = ERROR_SERVICE_SPECIFIC if status else _NO_ERROR
        self._status.dwServiceSpecificExitCode = status
        self._report(State.STOPPED)
        self._over.set()

    def _dispatch(self) -> None:
        if not _advapi32().StartServiceCtrlDispatcherW(self._entries):
            self._error = last_error()
            self._called.set()

    def _main(self, _count: int, _arguments: int) -> None:
        self._handle = _advapi32().RegisterServiceCtrlHandlerExW(
            self._name, ctypes.cast(self._callbacks[1], ctypes.c_void_p), None
        )
        if self._handle:
            self._report(State.START_PENDING)
        else:
            self._error = last_error()
        self._called.set()
        self._over.wait()

    def _control(self, code: int, _event: int, _data: int, _context: int) -> int:
        if code in (_STOP, _SHUTDOWN):
            self._report(State.STOP_PENDING)
            if not self.was_stopped:
                self.was_stopped = True
                self._stop()
            return _NO_ERROR
        return _NO_ERROR if code == _INTERROGATE else _CALL_NOT_IMPLEMENTED

    def _report(self, state: State) -> None:
        if self._status.dwCurrentState == State.STOP_PENDING and state == State.RUNNING:
            return  # told to stop before it ran
        pending = state in (State.START_PENDING, State.STOP_PENDING)
        self._status.dwCurrentState = state
        self._status.dwControlsAccepted = 0 if pending else _ACCEPT_STOP | _ACCEPT_SHUTDOWN
        self._status.dwWaitHint = _WAIT_HINT if pending else 0
        self._status.dwCheckPoint = self._status.dwCheckPoint + 1 if pending else 0
        _advapi32().SetServiceStatus(self._handle, ctypes.byref(self._status))


def _callback(result: type | None, *arguments: type) -> Any:  # noqa: ANN401 (a ctypes type)
    if sys.platform == "win32":
        return ctypes.WINFUNCTYPE(result, *arguments)
    raise not_windows(_SUBJECT)


def _advapi32() -> ctypes.CDLL:
    library = load_library("advapi32", _SUBJECT)
    handle, flag, text, pointer = wintypes.HANDLE, wintypes.BOOL, wintypes.LPCWSTR, ctypes.c_void_p
    declare(library, "StartServiceCtrlDispatcherW", flag, POINTER(_Entry))
    declare(library, "RegisterServiceCtrlHandlerExW", handle, text, pointer, pointer)
    declare(library, "SetServiceStatus", flag, handle, POINTER(ServiceStatus))
    return library
