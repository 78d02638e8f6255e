"""The drivers for the lab; without them, the tests here are skipped and say why."""

import sys
from pathlib import Path

import pytest

from parity_tests.simulators.build import make

# Those in inside/ are for Windows CPython; test_inside.py hands them over, on Linux, where all the others run.
collect_ignore = [] if sys.platform == "win32" else ["inside"]
collect_ignore_glob = ["test_*.py"] if sys.platform == "win32" else []

DRIVER = Path(__file__).resolve().parents[2] / "driver"


def build(*arguments):
    """Run the driver's make with *arguments*."""
    made = make(DRIVER, *arguments)
    assert made.returncode == 0, made.stderr


@pytest.fixture(scope="session")
def drivers(lab):  # noqa: ARG001 (the compiler comes with the lab)
    """The directory of the drivers that Wine can load, built."""
    build("-f", "wine/Makefile")
    return DRIVER.parent / "build" / "driver" / "wine"


@pytest.fixture(scope="session")
def product(lab):  # noqa: ARG001 (the compiler comes with the lab)
    """The driver as it is for Windows, built."""
    build("sys")
    return DRIVER.parent / "build" / "driver" / "KDetector.sys"
