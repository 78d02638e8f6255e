"""A scenario: a situation in a person's words, and what must be reported of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from etwdetect.core.rule import DEFAULT_BOUND
from parity_tests.steps import Repeat, StartDetection, Who

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
    "start outside any image",
    "other",
)
"""The kinds of a remote thread that a scenario can expect."""

SYSTEM: Final = "System"
IDLE: Final = "Idle"


@dataclass(frozen=True, kw_only=True)
class Actor:
    """A process of the story, by name. Ids that are None are given out by the bench.

    *running*: it was there before the story begins, with the main thread and *threads* (by name, with their ids).
    *images*: what it maps besides its program, ntdll, kernel32 and kernelbase.
    """

    name: str
    image: str
    running: bool = False
    pid: int | None = None
    threads: Mapping[str, int | None] = field(default_factory=dict)
    images: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What the story happens on. *clock_tick* is in 100 ns units: time stamps are multiples of it."""

    cpus: int = 1
    table_bound: int = DEFAULT_BOUND
    clock_tick: int = 1


@dataclass(frozen=True, kw_only=True)
class Expected:
    """A remote thread that must be reported, or *times* of them: in process *thread_in*, made by *made_by*.

    A thread name of None is any thread. *only*: reported by one detector alone, which the scenario explains.
    """

    thread_in: str
    thread: str | None
    made_by: Who
    kind: str | None = None
    evidence: tuple[str, ...] = ()
    only: Literal["etw", "driver"] | None = None
    times: int = 1

    def sentence(self) -> str:
        """Say in English what is reported."""
        times = f"{self.times:,} threads" if self.times > 1 else "a thread"
        name = f" ({self.thread})" if self.thread else ""
        notes = [f"kind: {self.kind}"] if self.kind else []
        notes += [f"evidence: {', '.join(self.evidence)}"] if self.evidence else []
        notes += [f"only {'ETW' if self.only == 'etw' else 'the driver'} can say so"] if self.only else []
        behind = f" [{'; '.join(notes)}]" if notes else ""
        return f"{times} in {self.thread_in}{name}, made by {self.made_by}{behind}"

    def each(self) -> Iterator[tuple[Who, str, str | None]]:
        """Yield the creator, the target and the new thread's name of each one, with numbers filled in."""
        for number in range(1, self.times + 1):
            filled = [
                None if text is None else text.replace("{n}", str(number))
                for text in (*self.made_by, self.thread_in, self.thread)
            ]
            yield Who(str(filled[0]), str(filled[1])), str(filled[2]), filled[3]


@dataclass(frozen=True, kw_only=True)
class BookDriver:
    """What the published driver would report instead, and why."""

    why: str
    reports: tuple[Expected, ...]


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One situation. *name* is its file's, *begins* the time of day of its first step."""

    name: str
    title: str
    why: str
    steps: tuple[Step, ...]
    expect: tuple[Expected, ...]
    actors: Mapping[str, Actor]
    machine: Machine
    begins: time
    book_driver: BookDriver | None = None
    path: Path | None = None

    @property
    def begins_inside(self) -> bool:
        """Whether detection begins inside the story, not before it."""
        return any(isinstance(step, StartDetection) for step in self.steps)

    def flat_steps(self) -> Iterator[Step]:
        """Yield every step once, those of a repetition too, without repeating them."""
        for step in self.steps:
            yield step
            if isinstance(step, Repeat):
                yield from step.steps
