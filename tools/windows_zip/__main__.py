"""Make the .zip: ``python -m tools.windows_zip [FILE.zip]``, dist/etwdetect-VERSION-windows-x64.zip by default.

``--arm64 PYTHON.zip`` makes that for ARM64, with python.org's embeddable package for it, which no package index
has. Beside the .zip is its checksum, with .sha256. ``--lock`` looks up newer versions of what goes into both, and
writes the locks.

Exit status: 0 done; 1 a step failed; 2 wrong arguments.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import etwdetect
from tools.windows_lab.errors import LabError
from tools.windows_lab.lab import PROJECT
from tools.windows_zip import wheels
from tools.windows_zip.archive import write_zip
from tools.windows_zip.bundle import assemble, fetch
from tools.windows_zip.platforms import ARM64, X64


def main() -> int:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.windows_zip", description="Make the .zip for Windows machines without Python."
    )
    parser.add_argument("file", nargs="?", type=Path, help="dist/etwdetect-VERSION-windows-x64.zip")
    parser.add_argument("--arm64", type=Path, metavar="PYTHON.zip", help="for ARM64, with this embeddable package")
    parser.add_argument("--lock", action="store_true", help="look up newer versions instead")
    arguments = parser.parse_args()
    platform = ARM64 if arguments.arm64 else X64
    name = f"etwdetect-{etwdetect.__version__}-windows-{platform.name}"
    path = arguments.file or PROJECT / "dist" / f"{name}.zip"
    try:
        if arguments.lock:
            _lock()
            return 0
        files = assemble(fetch(PROJECT, platform, arguments.arm64))
        path.parent.mkdir(parents=True, exist_ok=True)
        digest = write_zip(path, name, files)
    except (LabError, OSError) as error:
        print(f"the .zip failed: {error}", file=sys.stderr)  # noqa: T201
        return 1
    size = path.stat().st_size
    print(f"{path}: {len(files):,} files, {size / 1e6:.1f} MB, SHA-256 {digest}")  # noqa: T201
    return 0


def _lock() -> None:
    for platform in (X64, ARM64):
        for extra in wheels.lock(PROJECT, platform):
            print(f"{platform.name}: without the extra {extra}, which has no wheels there")  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
