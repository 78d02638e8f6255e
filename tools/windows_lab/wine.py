"""A Wine prefix of the lab's own, and its server."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tools.windows_lab.steps import run_step

if TYPE_CHECKING:
    from pathlib import Path

_PREFIX_SECONDS = 300.0
_SERVER_SECONDS = 60.0


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
            "WINEDEBUG": "-all",
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
        run_step("wineboot -i", ("wine", "wineboot", "-i"), env=self.env, timeout=_PREFIX_SECONDS)
        run_step("winecfg", ("wine", "winecfg", "-v", "win10"), env=self.env, timeout=_PREFIX_SECONDS)
        self.stop_server()

    def start_server(self) -> None:
        """Boot the prefix and keep it running, so that a process starts in 0.1 s instead of 3 s.

        Raises LabError.
        """
        self.stop_server()
        run_step("wineserver -p", ("wineserver", "-p"), env=self.env, timeout=_SERVER_SECONDS)
        run_step("wineboot", ("wine", "wineboot"), env=self.env, timeout=_SERVER_SECONDS)

    def stop_server(self) -> None:
        """End everything that runs in this prefix, and wait for it. Raises LabError."""
        # The wait alone tells how it went: without a server -k fails, and that is well.
        run_step("wineserver -k", ("sh", "-c", "wineserver -k || true"), env=self.env, timeout=_SERVER_SECONDS)
        run_step("wineserver -w", ("wineserver", "-w"), env=self.env, timeout=_SERVER_SECONDS)
