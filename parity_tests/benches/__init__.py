"""The benches: each performs a scenario while both detectors run, and returns what they reported.

A bench is the module of that name in this package; its `bench` is a subclass of Bench. The trace bench is the
exception: it takes recordings, not scenarios.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Final, Self

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from parity_tests.evaluation import Observation
    from parity_tests.scenario import Scenario

BENCHES: Final = ("model", "file", "wine", "vm")
"""The benches that take scenarios."""

TRACE: Final = "trace"
"""The bench that takes recordings."""


class Bench(ABC):
    """Performs scenarios one after the other, within a ``with`` block.

    Entering starts what all scenarios need (a session, a driver); leaving stops it. Entering raises
    BenchUnavailableError, which says what to install or where to run, if this machine cannot run the bench.
    """

    name: ClassVar[str]

    anywhere: bool = False
    """Whether the vm bench may run on a machine that does not look virtual."""

    driver: Path | None = None
    """The driver's file, which the vm bench then installs for as long as it runs; None: it runs already."""

    recordings: Path | None = None
    """A folder for a recording of each scenario, for a bench with a session: its name with .jsonl."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def cannot(self, scenario: Scenario) -> str | None:  # noqa: ARG002 (subclasses use it)
        """Return why this bench must skip *scenario*, or None if it can perform it."""
        return None

    @abstractmethod
    def perform(self, scenario: Scenario) -> Observation:
        """Perform *scenario* and return what both detectors reported."""


def open_bench(name: str) -> Bench:
    """Return the bench called *name*, not yet entered."""
    bench: Bench = importlib.import_module(f"{__name__}.{name}").bench()
    return bench
