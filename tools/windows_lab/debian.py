"""The Debian packages that the lab and the driver's Makefile need."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from typing import Final

from tools.windows_lab.errors import LabError, LabUnavailableError
from tools.windows_lab.steps import run_step

PACKAGES: Final = ("wine", "wine64", "gcc-mingw-w64-x86-64-win32", "g++-mingw-w64-x86-64-win32", "make")
PROGRAMS: Final = ("wine", "wineserver", "x86_64-w64-mingw32-gcc", "x86_64-w64-mingw32-g++", "make")

_APT_SECONDS: Final = 900.0


def missing_programs() -> list[str]:
    """Return those of PROGRAMS that are not on the PATH."""
    return [program for program in PROGRAMS if shutil.which(program) is None]


def require_programs(*, install: bool) -> None:
    """Make sure of PROGRAMS; with *install*, through apt-get where that is possible.

    Raises LabUnavailableError when they are missing and can't or may not be installed from here.
    """
    if not sys.platform.startswith("linux") or platform.machine() != "x86_64":
        raise LabUnavailableError(
            f"the lab needs Linux on x86-64, not {platform.system()} on {platform.machine()}"
        )
    missing = missing_programs()
    if not missing:
        return
    lacking = f"{', '.join(missing)} not found"
    if shutil.which("apt-get") is None:
        raise LabUnavailableError(f"{lacking}, and this is no Debian system to install Debian's packages on")
    if os.geteuid() != 0:
        raise LabUnavailableError(f"{lacking}; as root: apt-get install {' '.join(PACKAGES)}")
    if not install:
        raise LabUnavailableError(f"{lacking}; run: python -m tools.windows_lab")
    _install()
    if still := missing_programs():
        raise LabError(f"{', '.join(still)} not found, though their packages were installed")


def _install() -> None:
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    apt = ("apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=300")
    install = (*apt, "install", "--no-install-recommends", *PACKAGES)
    try:
        run_step("apt-get install", install, env=env, timeout=_APT_SECONDS)
    except LabError:
        # The list of packages may be empty, or older than the mirror: only then is it worth a minute.
        run_step("apt-get update", (*apt, "update"), env=env, timeout=_APT_SECONDS)
        run_step("apt-get install", install, env=env, timeout=_APT_SECONDS)
