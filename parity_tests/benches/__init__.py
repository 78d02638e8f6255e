"""The benches: each performs a scenario before both detectors, and says what they saw.

A bench is a module of its name here, whose `bench` is a subclass of Bench. The trace bench is the exception: it
takes recordings, not scenarios.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Final, Self

if TYPE_CHECKING:
    from types import TracebackType

    from parity_tests.scenario import Scenario
    from parity_tests.verdict import Observation

BENCHES: Final = ("model", "file", "wine", "vm")
"""The benches that take scenarios."""

TRACE: Final = "trace"
"""The bench that takes recordings."""


class Bench(ABC):
    """Performs scenarios, one after the other, within a ``with`` block.

    Entering starts what all scenarios need (a session, a driver) and raises BenchUnavailableError, with the
    remedy, where this machine has no such thing. Leaving stops it.
    """

    name: ClassVar[str]

    anywhere: bool = False
    """Whether the vm bench may run on what does not look like a virtual machine."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def cannot(self, scenario: Scenario) -> str | None:  # noqa: ARG002 (for those that can't perform all steps)
        """Return why this bench can't perform *scenario*, which is then skipped; None where it can."""
        return None

    @abstractmethod
    def perform(self, scenario: Scenario) -> Observation:
        """Let *scenario* happen before both detectors."""


def open_bench(name: str, *, anywhere: bool = False) -> Bench:
    """Return the bench called *name*, to be entered; *anywhere*: see `Bench.anywhere`."""
    bench: Bench = importlib.import_module(f"{__name__}.{name}").bench()
    bench.anywhere = anywhere
    return bench
