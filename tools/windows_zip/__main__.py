"""Make the .zip: ``python -m tools.windows_zip [FILE.zip]``, dist/etwdetect-VERSION-windows-x64.zip by default.

``python -m tools.windows_zip --lock`` looks up newer versions of what goes into it, and writes requirements.txt.

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


def main() -> int:
    """Do what the command line asks for."""
    name = f"etwdetect-{etwdetect.__version__}-windows-x64"
    parser = argparse.ArgumentParser(
        prog="python -m tools.windows_zip", description="Make the .zip for Windows machines without Python."
    )
    parser.add_argument(
        "file", nargs="?", type=Path, default=PROJECT / "dist" / f"{name}.zip", help=f"dist/{name}.zip"
    )
    parser.add_argument("--lock", action="store_true", help="look up newer versions instead")
    arguments = parser.parse_args()
    try:
        if arguments.lock:
            wheels.lock(PROJECT)
            return 0
        files = assemble(fetch(PROJECT))
        arguments.file.parent.mkdir(parents=True, exist_ok=True)
        digest = write_zip(arguments.file, name, files)
    except (LabError, OSError) as error:
        print(f"the .zip failed: {error}", file=sys.stderr)  # noqa: T201
        return 1
    size = arguments.file.stat().st_size
    print(f"{arguments.file}: {len(files):,} files, {size / 1e6:.1f} MB, SHA-256 {digest}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
