"""Builds of the driver, made once a session. Where the compiler is missing, the tests say so and skip.

A driver that breaks the kernel's rules stops the simulated kernel, and with it the whole test run: the last
line on standard error then has the stop code's name.
"""

import os
import shutil
from pathlib import Path

import pytest

from parity_tests.simulators.build import make
from parity_tests.simulators.simkernel import SimKernel

DRIVER = Path(__file__).parents[2] / "driver"
# The mutation check points this at a changed copy.
BUILD = Path(os.environ.get("KDETECTOR_BUILD", DRIVER.parent / "build" / "driver"))
SOURCES = Path(os.environ.get("KDETECTOR_SOURCES", DRIVER))


def build(target, compiler):
    for tool in ("make", compiler):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    done = make(SOURCES, f"BUILD={BUILD}", target)
    assert done.returncode == 0, done.stderr
    return BUILD


@pytest.fixture(scope="session")
def sim_programs(compiler):  # noqa: ARG001 (says what the tests need)
    return build("sim", "g++") / "sim"


@pytest.fixture(scope="session")
def asan_programs(compiler):  # noqa: ARG001 (says what the tests need)
    return build("sim-asan", "g++") / "sim-asan"


@pytest.fixture(scope="session")
def tsan_programs(compiler):  # noqa: ARG001 (says what the tests need)
    return build("sim-tsan", "g++") / "sim-tsan"


@pytest.fixture(scope="session")
def sys_file(compiler):  # noqa: ARG001 (says what the tests need)
    return build("sys", "x86_64-w64-mingw32-g++") / "KDetector.sys"


@pytest.fixture(scope="session")
def library(sim_programs):
    return sim_programs / "libkdetector-sim.so"


@pytest.fixture
def kernel(library):
    """A kernel with the driver loaded; unloading checks that nothing is left behind."""
    with SimKernel(library) as loaded:
        yield loaded
