"""The vm bench: a live session, the loaded driver and real processes on a Windows test machine.

docs/user/parity-vm.md says how to set one up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from etwdetect.kdetector import Device
from parity_tests.benches import Bench
from parity_tests.windows import cdb, machine
from parity_tests.windows.capabilities import obstacle
from parity_tests.windows.detectors import Detectors
from parity_tests.windows.executor import perform

if TYPE_CHECKING:
    from parity_tests.evaluation import Observation
    from parity_tests.scenario import Scenario


class VmBench(Bench):
    """Performs scenarios on this Windows; entering it raises an error on a machine that is not for tests.

    Raises BenchUnavailableError, NotElevatedError, NotRunningError and InUseError.
    """

    name = "vm"

    def __enter__(self) -> Self:
        machine.require_windows()
        machine.require_administrator()
        if not self.anywhere:
            machine.require_virtual_machine()
        with Device(reading=True) as device:  # fails unless it is loaded and no other program reads it
            for _ in device.drain():
                pass
        path = cdb.find()
        self._cdb = (str(path),) if path else ()
        return self

    def cannot(self, scenario: Scenario) -> str | None:
        """Return which step cannot be performed on real Windows, or None."""
        return obstacle(scenario, notify=False)

    def perform(self, scenario: Scenario) -> Observation:
        """Perform *scenario* on this machine and return what both detectors reported."""
        return perform(scenario, Detectors, notify=False, cdb=self._cdb)


bench = VmBench
