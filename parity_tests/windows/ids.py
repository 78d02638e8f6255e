"""Which ids the names of a scenario had when it was performed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from parity_tests.errors import PerformanceError

if TYPE_CHECKING:
    from parity_tests.steps import Who


@dataclass
class RealIds:
    """The ids by name, of processes and of threads, those that have ended too.

    A thread's is None where nobody can know it beforehand: which of cdb's threads does what.
    """

    processes: dict[str, int] = field(default_factory=dict)
    threads: dict[Who, int | None] = field(default_factory=dict)

    def pid_of(self, process: str) -> int:
        """Return the id of *process*. Raises PerformanceError."""
        if process not in self.processes:
            raise PerformanceError(f"{process} was not started")
        return self.processes[process]

    def tid_of(self, who: Who) -> int | None:
        """Return the id of the thread *who*, None where it is not known. Raises PerformanceError."""
        if who not in self.threads:
            raise PerformanceError(f"the thread {who.process}/{who.thread} was not made")
        return self.threads[who]
