"""What the tests inside Windows share: the machine, as new for each test."""

from pathlib import Path

import pytest

from parity_tests.simulators.simetw import SimEtw

LIBRARY = Path(__file__).resolve().parents[3] / "build" / "simetw" / "simetw.dll"


@pytest.fixture
def machine():
    simulated = SimEtw(LIBRARY)
    simulated.reset()
    yield simulated
    simulated.reset()
