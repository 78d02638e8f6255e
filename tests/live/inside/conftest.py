"""What the tests inside Windows share: the machine, as new for each test, and etwdetect running on it."""

import contextlib
from pathlib import Path

import pytest

from parity_tests.simulators.simetw import SimEtw
from tests.running import Running, until

LIBRARY = Path(__file__).resolve().parents[3] / "build" / "simetw" / "simetw.dll"


@pytest.fixture
def machine():
    simulated = SimEtw(LIBRARY)
    simulated.reset()
    yield simulated
    simulated.reset()


@pytest.fixture
def run(machine):  # noqa: ARG001 (which is as new when the test begins, and when it ends)
    """Returns a function that starts a command of etwdetect; all are gone at the end."""
    with contextlib.ExitStack() as stack:

        def start(*arguments, **options):
            started = Running(*arguments, **options)
            stack.callback(started.close)
            return started

        yield start


@pytest.fixture
def monitor(machine, run):
    """Returns a function that starts a monitor and waits until it watches."""

    def start(*arguments, **options):
        started = run("monitor", *arguments, **options)
        prefix = f"etwdetect-monitor-{started.process.pid}-"
        until(
            lambda: (
                any(each.name.startswith(prefix) and each.consumers for each in machine.sessions())
                or started.process.poll() is not None
            ),
            "a session with a consumer",
        )
        return started

    return start
