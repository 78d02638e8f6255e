"""A Wine prefix of the lab's own, and its server."""

from __future__ import annotations

import functools
import os
import subprocess
from typing import TYPE_CHECKING, Final

from tools.windows_lab.steps import run_step

if TYPE_CHECKING:
    from pathlib import Path

NOT_STARTED: Final = b"failed to map the shared user data"
"""What Wine says of a process that it ended before its first instruction, if WINEDEBUG has err+virtual.

Every Windows process has a page of the system's at 0x7FFE0000. Debian's Wine has no preloader that keeps the place
free, its loader lies at 0x7D000000, and Linux since 6.9 puts a program's heap anywhere in the gigabyte after that:
in one start of several thousand it lies over the page. The process then exits with status 1. To CreateProcess this
is error 1359, and a service does not start.
"""

_CONTROL: Final = r"HKLM\SYSTEM\CurrentControlSet\Control"
_SERVICE_WAIT: Final = "30000"
"""How many ms the service manager waits for a service that it starts: as in Windows. Wine's own 10 s are too few
for a Python on a machine under load, which then does not run after a boot."""

_PREFIX_SECONDS = 300.0
_SERVER_SECONDS = 60.0


@functools.cache
def launcher() -> tuple[str, ...]:
    """Return the words in front of a command by which it, and all that it starts, gets a heap that is not moved.

    The heap then begins right behind the loader, and NOT_STARTED does not happen. They are none where that is not
    allowed, as by default in Docker.
    """
    words = ("setarch", "--addr-no-randomize")
    try:
        allowed = subprocess.run((*words, "true"), capture_output=True, check=False).returncode == 0  # noqa: S603
    except FileNotFoundError:
        allowed = False
    return words if allowed else ()


def windows_path(path: Path) -> str:
    r"""Return the Windows name of *path*: Wine shows the root directory as drive Z.

    >>> from pathlib import Path
    >>> print(windows_path(Path("/usr/share")))
    Z:\usr\share
    """
    return "Z:" + str(path.absolute()).replace("/", "\\")


class WinePrefix:
    """The Wine prefix in directory *path*: the registry, drive C and the server that belong to it alone."""

    def __init__(self, path: Path) -> None:
        self.path = path
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("WINE")}
        # Without a display, Wine makes its windows invisible instead of asking an X server for them.
        inherited.pop("DISPLAY", None)
        self.env = {
            **inherited,
            "WINEPREFIX": str(path),
            "WINEARCH": "win64",
            # Nothing but what tells NOT_STARTED.
            "WINEDEBUG": "-all,err+virtual",
            # No .NET and no browser, which Wine would offer to download; no entries in the desktop's menus.
            "WINEDLLOVERRIDES": "mscoree,mshtml,winemenubuilder.exe=",
        }

    @property
    def drive_c(self) -> Path:
        """Drive C as a directory of this system."""
        return self.path / "drive_c"

    def create(self) -> None:
        """Make the prefix, as a Windows 10. Raises LabError."""
        self.path.mkdir(parents=True, exist_ok=True)
        run_step("wineboot -i", (*launcher(), "wine", "wineboot", "-i"), env=self.env, timeout=_PREFIX_SECONDS)
        run_step("winecfg", (*launcher(), "wine", "winecfg", "-v", "win10"), env=self.env, timeout=_PREFIX_SECONDS)
        wait = ("reg", "add", _CONTROL, "/f", "/v", "ServicesPipeTimeout", "/t", "REG_DWORD", "/d", _SERVICE_WAIT)
        run_step("reg add", (*launcher(), "wine", *wait), env=self.env, timeout=_PREFIX_SECONDS)
        self.stop_server()

    def start_server(self) -> None:
        """Boot the prefix and keep it running, so that a process starts in 0.1 s instead of 3 s.

        The services that it boots start all others, drivers' hosts too, with the heap that they have themselves.

        Raises LabError.
        """
        self.stop_server()
        run_step("wineserver -p", ("wineserver", "-p"), env=self.env, timeout=_SERVER_SECONDS)
        run_step("wineboot", (*launcher(), "wine", "wineboot"), env=self.env, timeout=_SERVER_SECONDS)

    def stop_server(self) -> None:
        """End everything that runs in this prefix, and wait for it. Raises LabError."""
        # The wait alone tells how it went: without a server -k fails, and that is well.
        run_step("wineserver -k", ("sh", "-c", "wineserver -k || true"), env=self.env, timeout=_SERVER_SECONDS)
        run_step("wineserver -w", ("wineserver", "-w"), env=self.env, timeout=_SERVER_SECONDS)
