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


def remove_driver(lab):
    """Take away what of KDetector is in the lab; return what that was."""
    ran = lab.run_python("-m", "parity_tests.windows.driver_service")
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()


@pytest.fixture
def no_driver(lab):
    """The lab without KDetector, which is taken away again at the end, whatever happens in the test."""
    if found := remove_driver(lab):
        pytest.fail(f"an earlier test left in the lab, where it is removed now: {', '.join(found)}")
    yield
    remove_driver(lab)


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
