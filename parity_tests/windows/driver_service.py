"""Finding and removing KDetector in the lab, without `etwdetect.kdetector.service`, which is tested there.

Were that to fail, what one test left would be in the way of all others.
``python -m parity_tests.windows.driver_service`` removes what there is and prints it, a line each.
"""

from __future__ import annotations

import ctypes
import os
import time
from pathlib import Path
from typing import Final

from etwdetect.kdetector.interface import SERVICE_NAME
from etwdetect.windows import libraries, services

_MANAGER_CONNECT: Final = 0x1
_QUERY_STOP_DELETE: Final = 0x1_0024
_CONTROL_STOP: Final = 1
_STOPPED: Final = 1
_PATIENCE: Final = 30.0
_LOOK_SECONDS: Final = 0.02


def remove() -> list[str]:
    """Unload the driver, delete its service and its file; return what of it was there.

    Raises OSError where something of it stays.
    """
    found = [f"the service {SERVICE_NAME}, {state}"] if (state := _delete_service()) else []
    drivers = Path(os.environ["SYSTEMROOT"]) / "System32" / "drivers"
    for file in sorted(drivers.glob(f"{SERVICE_NAME}.sys*")):
        found.append(str(file))
        file.unlink()
    if _delete_service():
        raise OSError(0, f"the service {SERVICE_NAME} is still there: a program holds a handle of it")
    return found


def _delete_service() -> str | None:
    """Stop and delete the service; return its state before, None where there is none."""
    api = services.advapi32()
    manager = api.OpenSCManagerW(None, None, _MANAGER_CONNECT)
    service = api.OpenServiceW(manager, SERVICE_NAME, _QUERY_STOP_DELETE)
    error = libraries.last_error()
    try:
        if not service:
            if error == libraries.ERROR_SERVICE_DOES_NOT_EXIST:
                return None
            raise OSError(0, f"opening the service {SERVICE_NAME}: {libraries.error_text(error)} ({error})")
        state = "stopped" if _state(service) == _STOPPED else "running"
        api.ControlService(service, _CONTROL_STOP, ctypes.byref(services.ServiceStatus()))
        deadline = time.monotonic() + _PATIENCE
        while _state(service) != _STOPPED:
            if time.monotonic() > deadline:
                raise OSError(0, f"the service {SERVICE_NAME} does not stop")
            time.sleep(_LOOK_SECONDS)
        api.DeleteService(service)
    finally:
        for handle in filter(None, (service, manager)):
            api.CloseServiceHandle(handle)
    return state


def _state(service: int) -> int:
    status = services.ServiceStatus()
    if not services.advapi32().QueryServiceStatus(service, ctypes.byref(status)):
        raise OSError(0, f"asking for the state of {SERVICE_NAME}: {libraries.error_text(libraries.last_error())}")
    return int(status.dwCurrentState)


if __name__ == "__main__":
    for each in remove():
        print(each)  # noqa: T201
