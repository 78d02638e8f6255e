r"""Replaces the kernel's volume names in paths with drive letters, where they are known or can be assumed.

>>> paths = Paths()
>>> paths.learn("\\Device\\HarddiskVolume2\\", "D:\\")
>>> paths.dos("\\Device\\HarddiskVolume2\\notepad.exe")
'D:\\notepad.exe'
>>> paths.dos("\\Device\\HarddiskVolume3\\tool.exe")
'\\Device\\HarddiskVolume3\\tool.exe'
>>> paths.notice("\\Device\\HarddiskVolume3\\Windows\\System32\\ntdll.dll")
>>> paths.dos("\\Device\\HarddiskVolume3\\tool.exe")
'C:\\tool.exe'
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_MOST: Final = 256
"""The most volumes kept."""

_ON_A_DRIVE: Final = re.compile(r"[A-Za-z]:\\")
_LOCAL_VOLUME: Final = "\\Device\\HarddiskVolume"
_WINDOWS: Final = "\\windows\\"
_SYSTEM_ROOT: Final = "\\systemroot\\"
_USUAL: Final = "C:\\"
_AMBIGUOUS: Final = 2
_OF_A_VOLUME: Final = re.compile(
    r"(?:\\[?\\]\?\\)?[A-Za-z]:(?=\\)|\\Device\\HarddiskVolume[0-9]+(?=\\)", re.IGNORECASE
)


_GIVEN: Final = re.compile(r"([A-Za-z]:)\\?=(\\[^\0]*[^\0\\])\\?")

Drives = tuple[tuple[str, str], ...]
"""Pairs of a volume's device and its drive."""


def drive(text: str) -> tuple[str, str]:
    r"""Return the device and the drive that *text* pairs; ValueError where it does not.

    >>> drive("C:=\\Device\\HarddiskVolume3")
    ('\\Device\\HarddiskVolume3', 'C:')
    """
    found = _GIVEN.fullmatch(text)
    if found is None:
        raise ValueError(rf"{text!r} is not a drive and its volume, such as C:=\Device\HarddiskVolume3")
    return found[2], found[1].upper()


def on_its_volume(path: str | None) -> str | None:
    r"""Return *path* without its drive letter or volume, so that rules can refer to files of Windows itself.

    >>> on_its_volume("\\Device\\HarddiskVolume3\\Windows\\System32\\ntdll.dll")
    '\\Windows\\System32\\ntdll.dll'
    >>> on_its_volume("\\SystemRoot\\System32\\ntdll.dll")
    '\\Windows\\System32\\ntdll.dll'
    >>> on_its_volume("csrss.exe")
    'csrss.exe'
    """
    if path is None:
        return None
    if path[: len(_SYSTEM_ROOT)].lower() == _SYSTEM_ROOT:
        return f"\\Windows{path[len(_SYSTEM_ROOT) - 1 :]}"
    volume = _OF_A_VOLUME.match(path)
    return path[volume.end() :] if volume else path


class Paths:
    r"""Maps devices to drive letters.

    *drives* are those that no event overrules.

    Where nothing tells the drive of the volume that holds \Windows, it is assumed: the one that \SystemRoot is on,
    or else C:, unless another volume has that letter. If two volumes hold a \Windows, nothing is assumed.
    """

    def __init__(self, drives: Drives = ()) -> None:
        self._drives: dict[str, str] = {}
        self._given: frozenset[str] = frozenset()
        self._of_windows: dict[str, str] = {}
        """The volumes that hold a \\Windows folder, as they are written, by their names in lower case."""
        self._noticed = "?"
        """How the latest of the paths that showed a \\Windows folder begins: most begin alike."""
        self._assumed: tuple[str, str] | None = None
        """The volume, in lower case, and the drive that it is assumed to be."""
        for device, dos in drives:
            self.learn(device, dos)
        self._given = frozenset(self._drives)

    def learn(self, device: str, dos: str) -> None:
        r"""Take that *device* and *dos* are prefixes of the same paths; both with or without a final ``\``.

        A mapping to something other than a drive letter is ignored.
        """
        device, dos = (part.rstrip("\\") + "\\" for part in (device, dos))
        is_drive = _ON_A_DRIVE.match(dos) and device.startswith("\\") and device.strip("\\")
        device = device.casefold()
        if is_drive and device not in self._given and len(self._drives) < _MOST:
            self._drives[device] = dos
            self._assume()

    def notice(self, path: str | None) -> None:
        r"""Take the kernel's *path* of any file, which may show what volume holds \Windows."""
        if path and path.startswith(_LOCAL_VOLUME) and not path.startswith(self._noticed):
            end = path.find("\\", len(_LOCAL_VOLUME))
            is_numbered = path[len(_LOCAL_VOLUME) : end].isdecimal()  # others are shadow copies
            if is_numbered and path[end : end + len(_WINDOWS)].lower() == _WINDOWS:
                self._noticed = path[: end + len(_WINDOWS)]
                if len(self._of_windows) < _AMBIGUOUS:
                    self._of_windows[path[: end + 1].casefold()] = path[:end]
                    self._assume()

    def dos(self, path: str) -> str:
        """Return *path* with its drive letter if that is known or assumed, or unchanged."""
        if not path.startswith("\\"):
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
        assumed = self._assumed
        return assumed[1] + path[len(assumed[0]) :] if assumed and _lies_on(path, assumed[0]) else path

    def assumed_for(self, paths: Iterable[str | None]) -> str | None:
        r"""Return what `dos` assumes for one of *paths*, such as ``C:=\Device\HarddiskVolume3``; None for none."""
        assumed = self._assumed
        if assumed is None or not any(path and _lies_on(path, assumed[0]) for path in paths):
            return None
        return f"{assumed[1][:2]}={self._of_windows[assumed[0]]}"

    def _assume(self) -> None:
        """Find out what is to be assumed, after anything that it rests on has changed."""
        self._assumed = None
        if len(self._of_windows) == 1:
            (volume,) = self._of_windows
            drive = self._drives.get(_SYSTEM_ROOT, _USUAL)[:3].upper()
            taken = (dos for device, dos in self._drives.items() if device != _SYSTEM_ROOT)
            if volume not in self._drives and not any(dos.upper() == drive for dos in taken):
                self._assumed = volume, drive


def _lies_on(path: str, volume: str) -> bool:
    return path[: len(volume)].casefold() == volume
