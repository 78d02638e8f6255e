"""Sign a driver for a test machine: ``python -m tools.sign [FILE.sys] [--out FOLDER] [--key KEY.pem]``.

FOLDER, build/driver/signed by default, then has KDetector.sys and KDetectorTest.cer: the two files that the
machine needs. Without FILE.sys the driver is built by mingw-w64 first. The key is made once and used again, so
that a machine which trusts the certificate trusts the next driver too. Keep the key to yourself.

Exit status: 0 done; 1 a step failed; 2 wrong arguments; 5 a program is missing.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from parity_tests.simulators.build import make
from tools.sign.signing import Identity, require_programs, sign
from tools.windows_lab.errors import LabError

PROJECT = Path(__file__).resolve().parents[2]
BUILD = PROJECT / "build" / "driver"


def main() -> int:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.sign", description="Sign KDetector.sys for a test machine."
    )
    parser.add_argument("driver", nargs="?", type=Path, metavar="FILE.sys", help="build it by mingw-w64")
    parser.add_argument("--out", type=Path, default=BUILD / "signed", help="build/driver/signed")
    parser.add_argument(
        "--key",
        type=Path,
        default=PROJECT / "build" / "sign" / "KDetectorTest.pem",
        help="build/sign/KDetectorTest.pem",
    )
    arguments = parser.parse_args()
    if missing := require_programs(building=arguments.driver is None):
        print(f"not signed: {missing}", file=sys.stderr)  # noqa: T201
        return 5
    try:
        driver = arguments.driver or _build()
        identity = Identity(arguments.key)
        arguments.out.mkdir(parents=True, exist_ok=True)
        signed, certificate = arguments.out / "KDetector.sys", arguments.out / "KDetectorTest.cer"
        sign(driver, signed, identity)
        shutil.copyfile(identity.certificate, certificate)
    except (LabError, OSError) as error:
        print(f"not signed: {error}", file=sys.stderr)  # noqa: T201
        return 1
    print(f"{signed}: signed; {certificate}: SHA-1 {identity.thumbprint()}")  # noqa: T201
    return 0


def _build() -> Path:
    done = make(PROJECT / "driver", f"BUILD={BUILD}", "sys")
    if done.returncode:
        raise LabError(f"make sys: {done.stderr.strip()}")
    return BUILD / "KDetector.sys"


if __name__ == "__main__":
    sys.exit(main())
