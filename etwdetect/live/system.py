"""What Windows itself says about its processes, as the events a trace would have.

It fills in what a session's events do not say: the command line and the user of a process, and everything about
one that started before the session. Nothing here raises an error for a process that has exited or may not be
opened; that process, or the field, is left out.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
from typing import TYPE_CHECKING, Any, Final

from etwdetect.core.events import IDLE_PID, ImageLoad, ProcessRundown, VolumeMapping
from etwdetect.core.filetime import from_unix_seconds
from etwdetect.windows import accounts, kernel
from etwdetect.windows import processes as windows_processes
from etwdetect.windows import volumes as windows_volumes

if TYPE_CHECKING:
    from collections.abc import Iterator

_GUARDED: Final = "\\lsass.exe"
"""Endpoint products and attack-surface rules alarm about whoever opens this process to read its memory."""


def host() -> str:
    """Return this machine's name."""
    # platform.node() returns the same after slow WMI queries.
    return socket.gethostname()


def boot_time() -> int:
    """Return the FILETIME at which this machine started."""
    import psutil  # noqa: PLC0415 (lazy import: installed on Windows only)

    return from_unix_seconds(psutil.boot_time())


def volumes(time: int) -> Iterator[VolumeMapping]:
    """Yield the device of each drive letter, as found at the FILETIME *time*."""
    for drive in windows_volumes.drives():
        yield VolumeMapping(time, drive.device, drive.root)


def processes(time: int) -> Iterator[ProcessRundown]:
    """Yield all running processes, as found at the FILETIME *time*."""
    import psutil  # noqa: PLC0415

    for pid in psutil.pids():
        found = process(pid, time)
        if found is not None:
            yield found


def process(pid: int, time: int) -> ProcessRundown | None:
    """Return the process that now has the id *pid*, as found at the FILETIME *time*, or None without one."""
    import psutil  # noqa: PLC0415

    try:
        queried = psutil.Process(pid)
    except (psutil.Error, OSError):
        return None

    def answer(query: Any) -> Any:  # noqa: ANN401 (psutil's methods)
        # A process may deny each of these on Windows; in Wine some fail in other ways.
        with contextlib.suppress(psutil.Error, OSError):
            return query()
        return None

    created = answer(queried.create_time)
    image = windows_processes.image_path(pid)
    guarded = is_guarded(image)
    command_line = None if guarded else answer(queried.cmdline)  # which reads the process's memory
    return ProcessRundown(
        time,
        pid,
        parent_pid=answer(queried.ppid) or None,
        session_id=windows_processes.session_id(pid),
        create_time=from_unix_seconds(created) if created else None,
        sid=None if guarded else accounts.user_sid(pid),
        image=image,
        command_line=subprocess.list2cmdline(command_line) if command_line else None,
    )


def is_guarded(image: str | None) -> bool:
    """Whether a process of *image* may be opened for no more than its name: lsass.exe, or an unknown one."""
    return image is None or image.lower().endswith(_GUARDED)


def modules(pid: int, time: int) -> Iterator[ImageLoad]:
    """Yield the modules mapped into the process *pid* now, as found at the FILETIME *time*."""
    for module in windows_processes.modules(pid):
        yield ImageLoad(
            time,
            pid,
            module.base,
            module.size,
            module.checksum,
            module.time_date_stamp,
            module.path,
            rundown=True,
        )


def kernel_images(time: int) -> Iterator[ImageLoad]:
    """Yield the images that the kernel has loaded, as found at the FILETIME *time*; perhaps Windows tells none.

    They are of the process without a program, as a system logger lists them.
    """
    for image in kernel.images():
        yield ImageLoad(time, IDLE_PID, image.base, image.size, image=image.path, rundown=True)
