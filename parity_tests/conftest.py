"""What the parity tests share: the benches of this machine, opened once, and the real recordings."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from etwdetect.errors import UnsupportedSystemError
from etwdetect.parity.benches import open_bench
from etwdetect.parity.simbuild import library

ROOT = Path(__file__).parents[1]
RECORDINGS = ROOT.parent / "shared" / "traces"


class Benches:
    """The benches by name, each opened on first use and kept; one that can't be opened skips its tests."""

    def __init__(self, stack):
        self._stack = stack
        self._known = {}

    def __getitem__(self, name):
        if name not in self._known:
            try:
                self._known[name] = self._stack.enter_context(open_bench(name))
            except UnsupportedSystemError as error:
                self._known[name] = str(error)
        if isinstance(self._known[name], str):
            pytest.skip(self._known[name])
        return self._known[name]


@pytest.fixture(scope="session")
def benches():
    with ExitStack() as stack:
        yield Benches(stack)


@pytest.fixture
def _simulated_kernel():
    """Skip, and say why, where there is no simulated kernel and none can be built."""
    try:
        library()
    except UnsupportedSystemError as error:
        pytest.skip(str(error))
