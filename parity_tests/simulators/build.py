"""Finds the library of the simulated kernel and builds it, which needs a checkout and a compiler."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from typing import TYPE_CHECKING, Final

if sys.platform != "win32":
    import fcntl

from parity_tests.checkout import ROOT
from parity_tests.errors import BenchUnavailableError

if TYPE_CHECKING:
    from pathlib import Path

_DRIVER: Final = ROOT / "driver"
LIBRARY: Final = ROOT / "build" / "driver" / "sim" / "libkdetector-sim.so"
_TOOLS: Final = ("make", "g++")


@cache
def library() -> Path:
    """Return the path of the library, built if it is out of date. Raises BenchUnavailableError."""
    if not (_DRIVER / "Makefile").is_file():
        raise BenchUnavailableError(
            "the simulated kernel is built from the driver's sources, which are not part of the .zip; "
            "run this in a checkout of the repository on Linux"
        )
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        if LIBRARY.is_file():
            return LIBRARY
        raise BenchUnavailableError(
            f"the simulated kernel is not built, and building it needs {' and '.join(missing)}; "
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
