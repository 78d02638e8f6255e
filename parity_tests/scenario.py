"""A scenario: the steps of one situation, and the remote threads that must be reported."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from etwdetect.core.rule import DEFAULT_BOUND
from parity_tests.steps import Repeat, StartDetection, ThreadRef

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import time
    from pathlib import Path

    from parity_tests.steps import Step

KINDS: Final = (
    "debugger break-in",
    "console control",
    "library load",
    "kernel-mode start",
    "thread-pool worker",
    "made inside another call",
    "start outside any image",
    "other",
)
"""The kinds of remote threads that a scenario can expect."""

SYSTEM: Final = "System"
IDLE: Final = "Idle"


@dataclass(frozen=True, kw_only=True)
class ScenarioProcess:
    """A process of the scenario, by name. The bench assigns ids that are None.

    *running*: it runs before the first step, with its main thread and *threads* (ids by name).
    *images*: the images that it maps besides its program, ntdll, kernel32 and kernelbase.
    """

    name: str
    image: str
    running: bool = False
    pid: int | None = None
    threads: Mapping[str, int | None] = field(default_factory=dict)
    images: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The machine of the scenario. Time stamps are multiples of *clock_tick*, in 100 ns units."""

    cpus: int = 1
    table_bound: int = DEFAULT_BOUND
    clock_tick: int = 1


@dataclass(frozen=True, kw_only=True)
class Expected:
    """A remote thread that must be reported, *times* times: in process *thread_in*, created by *made_by*.

    A thread name of None matches any thread. *only*: the one detector that reports it. *stack*: what fields of
    rules must say of its call stack, with "" for nothing.
    """

    thread_in: str
    thread: str | None
    made_by: ThreadRef
    kind: str | None = None
    severity: str | None = None
    stack: Mapping[str, str] = field(default_factory=dict)
    evidence: tuple[str, ...] = ()
    only: Literal["etw", "driver"] | None = None
    times: int = 1

    def sentence(self) -> str:
        """Return an English description of the expected report."""
        times = f"{self.times:,} threads" if self.times > 1 else "a thread"
        name = f" ({self.thread})" if self.thread else ""
        notes = [f"kind: {self.kind}"] if self.kind else []
        notes += [f"severity: {self.severity}"] if self.severity else []
        notes += [f"{name}: {value or 'not known'}" for name, value in self.stack.items()]
        notes += [f"evidence: {', '.join(self.evidence)}"] if self.evidence else []
        notes += [f"only {'ETW' if self.only == 'etw' else 'the driver'} can say so"] if self.only else []
        behind = f" [{'; '.join(notes)}]" if notes else ""
        return f"{times} in {self.thread_in}{name}, made by {self.made_by}{behind}"

    def each(self) -> Iterator[tuple[ThreadRef, str, str | None]]:
        """Yield creator, target process and name of the new thread for each repetition, with {n} replaced."""
        for number in range(1, self.times + 1):
            filled = [
                None if text is None else text.replace("{n}", str(number))
                for text in (*self.made_by, self.thread_in, self.thread)
            ]
            yield ThreadRef(str(filled[0]), str(filled[1])), str(filled[2]), filled[3]


@dataclass(frozen=True, kw_only=True)
class OtherReports:
    """The reports of another witness for this scenario, where they differ, and why they do."""

    why: str
    reports: tuple[Expected, ...]


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One scenario. *name* is the name of its file, *begins* the time of day of its first step."""

    name: str
    title: str
    why: str
    steps: tuple[Step, ...]
    expect: tuple[Expected, ...]
    processes: Mapping[str, ScenarioProcess]
    machine: Machine
    begins: time
    book_driver: OtherReports | None = None
    sysmon: OtherReports | None = None
    path: Path | None = None

    @property
    def begins_inside(self) -> bool:
        """Whether detection starts during the scenario, not before it."""
        return any(isinstance(step, StartDetection) for step in self.steps)

    def flat_steps(self) -> Iterator[Step]:
        """Yield every step once, including the steps inside a repetition."""
        for step in self.steps:
            yield step
            if isinstance(step, Repeat):
                yield from step.steps
