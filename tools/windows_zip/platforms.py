"""The kinds of machines that the .zip is made for."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final, NamedTuple

from tools.windows_lab.windows_python import WINDOWS_WHEELS

_HERE: Final = Path(__file__).parent


class Platform(NamedTuple):
    """One of them: its *name* in that of the .zip, its wheels, distlib's launcher, its number in a PE header."""

    name: str
    words: str
    tag: str
    launcher: str
    machine: int

    @property
    def lock(self) -> Path:
        """The file with the versions and the content of its wheels."""
        return _HERE / ("requirements.txt" if self is X64 else f"requirements-{self.name}.txt")

    @property
    def wheels(self) -> str:
        """What makes pip choose wheels for it."""
        return WINDOWS_WHEELS.replace("win_amd64", self.tag)

    def runs(self, program: bytes) -> bool:
        """Whether *program*, a PE file, is for this machine."""
        try:
            (header,) = struct.unpack_from("<I", program, 60)  # e_lfanew
            signature, machine = struct.unpack_from("<4sH", program, header)
        except struct.error:
            return False
        return bool(program[:2] == b"MZ" and signature == b"PE\0\0" and machine == self.machine)


X64: Final = Platform("x64", "64 bits (x64)", "win_amd64", "distlib/t64.exe", 0x8664)
ARM64: Final = Platform("arm64", "64 bits (ARM64)", "win_arm64", "distlib/t64-arm.exe", 0xAA64)
