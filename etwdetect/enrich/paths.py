r"""Replaces the kernel's volume names in paths with drive letters, where the mapping is known.

>>> paths = Paths()
>>> paths.learn("\\Device\\HarddiskVolume2\\", "C:\\")
>>> paths.dos("\\Device\\HarddiskVolume2\\Windows\\notepad.exe")
'C:\\Windows\\notepad.exe'
>>> paths.dos("\\Device\\HarddiskVolume3\\tool.exe")
'\\Device\\HarddiskVolume3\\tool.exe'
"""

from __future__ import annotations

import re
from typing import Final

_MOST: Final = 256
"""The most volumes kept."""

_ON_A_DRIVE: Final = re.compile(r"[A-Za-z]:\\")


class Paths:
    """Maps devices to drive letters."""

    def __init__(self) -> None:
        self._drives: dict[str, str] = {}

    def learn(self, device: str, dos: str) -> None:
        r"""Take that *device* and *dos* are prefixes of the same paths; both with or without a final ``\``.

        A mapping to something other than a drive letter is ignored.
        """
        device, dos = (part.rstrip("\\") + "\\" for part in (device, dos))
        if _ON_A_DRIVE.match(dos) and device.startswith("\\") and device.strip("\\") and len(self._drives) < _MOST:
            self._drives[device.casefold()] = dos

    def dos(self, path: str) -> str:
        """Return *path* with its drive letter if that is known, or unchanged."""
        if not path.startswith("\\") or not self._drives:
            return path
        # The device name ends at one of the first few backslashes.
        at = 0
        for _ in range(4):
            at = path.find("\\", at + 1)
            if at < 0:
                break
            drive = self._drives.get(path[: at + 1].casefold())
            if drive is not None:
                return drive + path[at + 1 :]
        return path
