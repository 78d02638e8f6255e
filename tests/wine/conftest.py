"""The lab and the drivers for it; without them, the tests here are skipped and say why."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

# These are for Windows CPython; test_inside.py hands them over.
collect_ignore = [] if sys.platform == "win32" else ["inside"]

DRIVER = Path(__file__).resolve().parents[2] / "driver"


@pytest.fixture(scope="session")
def lab():
    """The Windows lab, booted. With ETWDETECT_WINDOWS_LAB_REQUIRED set, a machine without one is an error."""
    windows_lab = pytest.importorskip("tools.windows_lab", reason="the lab needs Linux", exc_type=ImportError)
    try:
        with windows_lab.open_lab() as opened:
            yield opened
    except windows_lab.LabUnavailableError as error:
        if os.environ.get("ETWDETECT_WINDOWS_LAB_REQUIRED"):
            raise
        pytest.skip(f"no Windows lab: {error}")


@pytest.fixture(scope="session")
def drivers(lab):  # noqa: ARG001 (the compiler comes with the lab)
    """The directory of the drivers that Wine can load, built."""
    made = subprocess.run(
        ("make", "-s", "-C", DRIVER, "-f", "wine/Makefile"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    return DRIVER.parent / "build" / "driver" / "wine"
