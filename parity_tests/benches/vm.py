"""The vm bench: a live session and the loaded driver on a Windows test machine, and real processes.

docs/parity-vm.md takes a reader there.
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
    from parity_tests.scenario import Scenario
    from parity_tests.verdict import Observation


class VmBench(Bench):
    """Performs scenarios on this Windows; entering refuses a machine that it should keep its hands off.

    Raises BenchUnavailableError, NotElevatedError, NotRunningError and InUseError.
    """

    name = "vm"

    def __enter__(self) -> Self:
        machine.require_windows()
        machine.require_administrator()
        if not self.anywhere:
            machine.require_virtual_machine()
        with Device(reading=True) as device:  # it is loaded, and nobody else has its records
            for _ in device.drain():
                pass
        path = cdb.find()
        self._cdb = (str(path),) if path else ()
        return self

    def cannot(self, scenario: Scenario) -> str | None:
        """Return which step can't be had for real."""
        return obstacle(scenario, told=False)

    def perform(self, scenario: Scenario) -> Observation:
        """Perform the scenario on this machine."""
        return perform(scenario, Detectors, told=False, cdb=self._cdb)


bench = VmBench
