"""What the parity tests share: the benches of this machine, opened once."""

from contextlib import ExitStack

import pytest

from etwdetect.errors import UnsupportedSystemError
from etwdetect.parity.benches import open_bench
from tests.conftest import simulated_kernel

__all__ = ["benches", "simulated_kernel"]


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
