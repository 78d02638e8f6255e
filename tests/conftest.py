"""What several test files share."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from etwdetect.core.errors import UnsupportedSystemError
from parity_tests.simulators.build import library, make
from tests import forked

# A slow machine is no failure. The examples are the same in every run, so that what fails does so for everybody;
# `nox -s examples` looks for new ones. In Windows CPython a few examples show what that system does in another
# way; `quick` has as many.
_PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("new", _PATIENT, max_examples=1000, print_blob=True)
settings.register_profile("etwdetect", _PATIENT, derandomize=True)
settings.register_profile("few", settings.get_profile("etwdetect"), max_examples=10)
settings.load_profile("few" if sys.platform == "win32" else "etwdetect")

# They hand tests over to the lab, which there is on Linux alone.
collect_ignore = ["test_in_windows.py", "windows_cpython.py"] if sys.platform == "win32" else []

NOT_IN_THE_LAB = ("numpy", "etl")
"""What tests import at some time, and the Windows lab can't have."""

needs_numpy = pytest.mark.skipif(find_spec("numpy") is None, reason="numpy is not in the Windows lab")
"""For tests that start a program which loads numpy."""

needs_parquet = pytest.mark.skipif(find_spec("pyarrow") is None, reason="needs the extra etwdetect[parquet]")
needs_evtx = pytest.mark.skipif(find_spec("evtx") is None, reason="needs the extra etwdetect[evtx]")

needs_a_full_disk = pytest.mark.skipif(
    sys.platform == "win32" or not Path("/dev/full").exists(), reason="there is no /dev/full"
)
"""Wine shows the one of Linux on a drive."""

ROOT = Path(__file__).parent.parent
RECORDINGS = ROOT.parent / "shared" / "traces"


def _skip_what_the_lab_cannot_have():
    """Skip what turns out to need a package that the Windows lab can't have."""
    try:
        return (yield)
    except ModuleNotFoundError as error:
        if sys.platform == "win32" and error.name in NOT_IN_THE_LAB:
            pytest.skip(f"{error.name} is not in the Windows lab")
        raise


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup():
    """Do so for the fixtures of a test."""
    return (yield from _skip_what_the_lab_cannot_have())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call():
    """Do so for the test."""
    return (yield from _skip_what_the_lab_cannot_have())


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of real recordings, where it is there."""
    if not RECORDINGS.is_dir():
        pytest.skip(f"the real recordings are not beside the repository, in {RECORDINGS.relative_to(ROOT.parent)}")
    return RECORDINGS


@pytest.fixture
def simulated_kernel(compiler) -> Path:  # noqa: ARG001 (says what the test needs)
    """The simulated kernel's library, where it is built or can be."""
    try:
        return library()
    except UnsupportedSystemError as error:
        pytest.skip(str(error))


class Finished:
    """A command that ended: its exit status, and what it printed, as text."""

    def __init__(self, done: subprocess.CompletedProcess[bytes]) -> None:
        self.status = done.returncode
        self.out, self.err = (
            stream.decode("utf-8").replace(os.linesep, "\n") for stream in (done.stdout, done.stderr)
        )
        assert "Traceback" not in self.err, self.err


@pytest.fixture
def etwdetect():
    """Run the command line as a user does, in a process of its own."""

    def run(*arguments: object, **options) -> Finished:
        return Finished(forked.run([*map(str, arguments)], **{"timeout": 300, **options}))

    return run


@pytest.fixture(scope="session")
def simetw(lab):  # noqa: ARG001 (the compiler comes with the lab)
    """The directory of the stand-in for event tracing, built."""
    made = make(ROOT / "simetw")
    assert made.returncode == 0, made.stderr
    return ROOT / "build" / "simetw"
