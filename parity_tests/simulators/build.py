"""Finds the simulated kernel's library, and builds it where the checkout and a compiler are at hand."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Final

if sys.platform != "win32":
    import fcntl

from parity_tests.errors import BenchUnavailableError

_CHECKOUT: Final = Path(__file__).resolve().parents[2]
_DRIVER: Final = _CHECKOUT / "driver"
LIBRARY: Final = _CHECKOUT / "build" / "driver" / "sim" / "libkdetector-sim.so"
_TOOLS: Final = ("make", "g++")


@cache
def library() -> Path:
    """Return the library, up to date; BenchUnavailableError, with the remedy, where there can be none."""
    if not (_DRIVER / "Makefile").is_file():
        raise BenchUnavailableError(
            "the simulated kernel is not part of the installed package; run this in a checkout of the repository"
        )
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        if LIBRARY.is_file():
            return LIBRARY
        raise BenchUnavailableError(
            f"the simulated kernel is not built, and {' and '.join(missing)} to build it not installed; "
            f"on Debian: apt-get install {' '.join(missing)}"
        )
    done = make(_DRIVER, f"BUILD={LIBRARY.parents[1]}", str(LIBRARY))
    if done.returncode:
        raise BenchUnavailableError(f"the simulated kernel cannot be built:\n{done.stderr.strip()}")
    return LIBRARY


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run make in *folder*, one process at a time: two that write the same files would spoil them."""
    with (folder / "Makefile").open("rb") as makefile:
        if sys.platform != "win32":
            fcntl.flock(makefile, fcntl.LOCK_EX)
        return subprocess.run(  # noqa: S603 (our own makefiles)
            ["make", "-s", f"-j{os.cpu_count()}", "-C", str(folder), *arguments],  # noqa: S607
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
