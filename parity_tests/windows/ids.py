"""The real ids of the processes and threads of a performed scenario."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from parity_tests.errors import PerformanceError

if TYPE_CHECKING:
    from parity_tests.steps import ThreadRef


@dataclass
class RealIds:
    """The ids of processes and threads by name, ended ones included.

    The id of a thread of cdb is None: which of its threads acts is not known.
    """

    processes: dict[str, int] = field(default_factory=dict)
    threads: dict[ThreadRef, int | None] = field(default_factory=dict)

    def pid_of(self, process: str) -> int:
        """Return the id of *process*. Raises PerformanceError."""
        if process not in self.processes:
            raise PerformanceError(f"{process} was not started")
        return self.processes[process]

    def tid_of(self, thread: ThreadRef) -> int | None:
        """Return the id of *thread*, or None if it is not known. Raises PerformanceError."""
        if thread not in self.threads:
            raise PerformanceError(f"the thread {thread.process}/{thread.thread} was not created")
        return self.threads[thread]
