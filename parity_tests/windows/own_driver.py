"""The driver for one run of the vm bench: installed and started before it, stopped and uninstalled after it.

A value in the registry names the run's process while any of the driver may be there. A run that was killed leaves
it behind, and the next one takes away what it finds before it begins. The driver of somebody else is left alone.
"""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Final

from etwdetect.core.errors import EtwDetectError
from etwdetect.kdetector import service
from etwdetect.kdetector.errors import AlreadyInstalledError, KDetectorError, NotInstalledError
from etwdetect.live import ownership

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KEY: Final = r"SOFTWARE\etwdetect\parity"
_VALUE: Final = "DriverOf"


@contextlib.contextmanager
def own_driver(image: Path, notify: Callable[[str], None]) -> Iterator[None]:
    """Have *image* installed and running; *notify* is told what an earlier run left. Raises KDetectorError."""
    clean_up(notify)
    if service.state() is not None:
        raise AlreadyInstalledError
    mark(ownership.name_of(ownership.this_process("parity")))
    try:
        service.install(image)
    except EtwDetectError:
        mark(None)
        raise
    try:
        service.start()
        yield
    finally:
        _remove()


def clean_up(notify: Callable[[str], None]) -> None:
    """Remove the driver of a run that was killed, and tell *notify*. KDetectorError if that run still runs."""
    name = marked()
    if name is None:
        return
    owner = ownership.owner_of(name)
    if owner is not None and ownership.is_running(owner):
        raise KDetectorError(f"another run of the vm bench, process {owner.pid}, has the driver")
    was_there = service.state() is not None
    _remove()
    if was_there:
        notify("removed KDetector, left by a run of the vm bench that was killed")


def _remove() -> None:
    with contextlib.suppress(NotInstalledError):
        service.uninstall()
    service.delete_file()
    mark(None)


def marked() -> str | None:
    """Return the name of the run that has the driver, or None."""
    if sys.platform == "win32":
        import winreg  # noqa: PLC0415 (exists on Windows only)

        with contextlib.suppress(FileNotFoundError), winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, KEY) as key:
            return str(winreg.QueryValueEx(key, _VALUE)[0])
    return None


def mark(name: str | None) -> None:
    """Note in the registry that the run *name* has the driver; None: nobody has."""
    if sys.platform == "win32":
        import winreg  # noqa: PLC0415 (exists on Windows only)

        with winreg.CreateKey(winreg.HKEY_LOCAL_MACHINE, KEY) as key:
            if name is None:
                winreg.DeleteValue(key, _VALUE)
            else:
                winreg.SetValueEx(key, _VALUE, 0, winreg.REG_SZ, name)
