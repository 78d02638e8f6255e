"""The vm bench: a live session, the loaded driver and real processes on a Windows test machine.

docs/user/parity-vm.md says how to set one up. With the lab's driver, in Wine, it notifies both detectors itself.
"""

from __future__ import annotations

import subprocess
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

from etwdetect.cli import say
from etwdetect.core import filetime
from etwdetect.kdetector import Device
from parity_tests.benches import Bench
from parity_tests.windows import cdb, injector, machine, sysmon
from parity_tests.windows.capabilities import obstacle, other_bound
from parity_tests.windows.detectors import Detectors
from parity_tests.windows.executor import Programs, perform
from parity_tests.windows.job import end_children_with_us
from parity_tests.windows.own_driver import own_driver

if TYPE_CHECKING:
    from types import TracebackType

    from parity_tests.evaluation import Observation
    from parity_tests.scenario import Scenario


class VmBench(Bench):
    """Performs scenarios on this Windows; entering it raises an error on a machine that is not for tests.

    Raises BenchUnavailableError, NotElevatedError, KDetectorError and SystemCallError.
    """

    name = "vm"

    def __enter__(self) -> Self:
        machine.require_windows()
        machine.require_administrator()
        if not self.anywhere:
            machine.require_virtual_machine()
        with ExitStack() as stack:
            end_children_with_us()
            if self.driver is not None:
                stack.enter_context(own_driver(self.driver, say))
            with Device(reading=True) as device:  # fails unless it is loaded and no other program reads it
                for _ in device.drain():
                    pass
            self._notify = injector.is_lab()
            path = cdb.find()
            self._programs = Programs((str(path),) if path else (), notepad=not self._notify)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def cannot(self, scenario: Scenario) -> str | None:
        """Return which step cannot be performed on this machine, or None."""
        return other_bound(scenario) or obstacle(scenario, notify=self._notify)

    def perform(self, scenario: Scenario) -> Observation:
        """Perform *scenario* on this machine and return what both detectors reported."""
        recording = self.recordings and self.recordings / f"{scenario.name}.jsonl"
        detect = lambda: Detectors(recording=recording)  # noqa: E731 (as short as a function of its own is long)
        begun = filetime.from_datetime(datetime.now(UTC))
        observation = perform(scenario, detect, notify=self._notify, programs=self._programs)
        if not sysmon.is_running():
            return observation
        try:
            log = sysmon.logged(begun)
        except (OSError, subprocess.SubprocessError) as error:
            return replace(observation, notes=(*observation.notes, f"Sysmon's log cannot be read: {error}"))
        if self.recordings:
            (self.recordings / f"{scenario.name}.sysmon.xml").write_bytes(log)
        return replace(observation, notes=(*observation.notes, *sysmon.told(scenario, observation, log)))


bench = VmBench
