"""What the parity tests share: the benches of this machine, opened once."""

import sys
from contextlib import ExitStack

import pytest

from etwdetect.core.errors import EtwDetectError
from parity_tests.benches import open_bench
from parity_tests.benches.wine import WineBench
from tests.conftest import etwdetect, recordings, simetw, simulated_kernel

__all__ = ["bench", "etwdetect", "recordings", "simetw", "simulated_kernel"]

# The tests in inside/ are for Windows CPython; test_inside.py hands them over, on Linux.
collect_ignore = ["test_inside.py"] if sys.platform == "win32" else ["inside"]


class Benches:
    """The benches by name, each opened on first use and kept; one that can't be opened skips its tests.

    A Windows machine that refuses the vm bench (not elevated, no driver) has none.
    """

    def __init__(self, stack):
        self._stack = stack
        self._known = {}

    def __getitem__(self, name):
        if name not in self._known:
            try:
                self._known[name] = self._stack.enter_context(open_bench(name))
            except EtwDetectError as error:
                self._known[name] = str(error)
        if isinstance(self._known[name], str):
            pytest.skip(self._known[name])
        return self._known[name]


@pytest.fixture(scope="session")
def opened_benches():
    with ExitStack() as stack:
        yield Benches(stack)


@pytest.fixture(scope="session")
def wine_bench(lab):
    """The wine bench in the lab that all tests of a run share; without a lab, its tests are skipped."""
    with WineBench(lab) as opened:
        yield opened


@pytest.fixture
def bench(request, opened_benches, name):
    """The bench that the test's parameter *name* says."""
    return request.getfixturevalue("wine_bench") if name == "wine" else opened_benches[name]
