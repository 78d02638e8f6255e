"""The steps of a scenario, each a dataclass with typed arguments.

A step is an abstract action of processes and threads that are known by name. The model and file benches expand
steps into events (`timeline`); the wine and vm benches perform them. Durations are in 100 ns units.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Final, Literal, NamedTuple, Self

MAIN: Final = "main"
"""The name of a process's first thread unless the scenario sets another."""

NUMBER: Final = "{n}"
"""Replaced by the number of the repetition, from 1, in the names of a repeated step."""

BREAK_IN: Final = "ntdll.dll!DbgUiRemoteBreakin"
_PLACES: Final = {"nowhere": "in no image", "kernel": "in the kernel"}

CONTROL_HANDLER: Final = "kernelbase.dll!CtrlRoutine"


class ThreadRef(NamedTuple):
    """A thread by the names of its process and itself; written "notepad" or "notepad/worker" in a file."""

    process: str
    thread: str = MAIN

    def __str__(self) -> str:
        return self.process if self.thread == MAIN else f"{self.process}/{self.thread}"


@dataclass(frozen=True, kw_only=True)
class Step:
    """A step; *action* is its key in a file, and the key's value is the process that it acts on.

    *after*: the time since the step before it, or None for the default. *cpu*: the CPU that logs the event.
    *lost_by_etw*: ETW loses the events of this step.
    """

    action: ClassVar[str] = ""
    process: str = ""
    after: int | None = None
    cpu: int | None = None
    lost_by_etw: bool = False

    def sentence(self) -> str:
        """Return an English description of the step."""
        lost = " (which ETW loses)" if self.lost_by_etw else ""
        return self._says() + lost

    def _says(self) -> str:
        raise NotImplementedError

    def numbered(self, number: int) -> Self:
        """Return this step with {n} in its names replaced by *number*."""
        changes: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, str) and NUMBER in value:
                changes[field.name] = value.replace(NUMBER, str(number))
            elif isinstance(value, ThreadRef) and NUMBER in str(value):
                changes[field.name] = ThreadRef(*(part.replace(NUMBER, str(number)) for part in value))
        return replace(self, **changes) if changes else self


@dataclass(frozen=True, kw_only=True)
class MakesThread(Step):
    """A step in which the thread *by* creates a thread in *process*.

    *named*: the name of the new thread in the scenario; *tid*: its id, if it matters; *at*: its start address,
    "image!function", "nowhere" (outside any image) or "kernel". *etw_creator*: "unknown" if ETW does not log it.
    *stack*: the calls of *by* that are open, the innermost first, each a function or "nowhere"; a trace has them.
    *nested*: the kernel makes the thread inside another system service.
    """

    by: ThreadRef
    tid: int | None = None
    named: str | None = None
    at: str | None = None
    stack: tuple[str, ...] = ()
    nested: bool = False
    etw_creator: Literal["known", "unknown"] = "known"

    def sentence(self) -> str:
        """Return an English description of the step and of the new thread."""
        said = super().sentence()
        notes = [f"called {self.named}"] if self.named else []
        notes += [f"with the id {self.tid}"] if self.tid else []
        notes += [f"starting {_PLACES.get(self.at, f'at {self.at}')}"] if self.at else []
        notes += [f"made by {' in '.join(self.stack)}"] if self.stack else []
        notes += ["made inside another system service"] if self.nested else []
        notes += ["whose creator ETW does not know"] if self.etw_creator == "unknown" else []
        of_what = "" if "thread" in said else "thread "
        return f"{said} ({of_what}{', '.join(notes)})" if notes else said


@dataclass(frozen=True, kw_only=True)
class StartProcess(MakesThread):
    """Starts a program: a process, its first thread by the same creator, its images."""

    action = "start_process"
    parent: str | None = None
    thread_cpu: int | None = None
    first_thread_after: int | None = None

    def _says(self) -> str:
        return f"{self.by} starts {self.process}{self._as_a_child}"

    @property
    def _as_a_child(self) -> str:
        return f", as if it were a child of {self.parent}" if self.parent else ""


@dataclass(frozen=True, kw_only=True)
class StartSuspended(StartProcess):
    """Starts a program whose first thread does not run yet: only its own image and ntdll are mapped."""

    action = "start_suspended"

    def _says(self) -> str:
        return f"{self.by} starts {self.process} suspended{self._as_a_child}"


@dataclass(frozen=True, kw_only=True)
class StartUnderDebugger(StartProcess):
    """A debugger starts its debuggee and is attached to it from the beginning."""

    action = "start_under_debugger"

    def _says(self) -> str:
        return f"{self.by} starts {self.process} and debugs it from the beginning"


@dataclass(frozen=True, kw_only=True)
class Resume(Step):
    """Resumes a suspended process."""

    action = "resume"
    by: ThreadRef

    def _says(self) -> str:
        return f"{self.by} resumes {self.process}"


@dataclass(frozen=True, kw_only=True)
class BeginProcess(Step):
    """A process is announced before its first thread: the moment between both notifications."""

    action = "begin_process"
    by: ThreadRef
    parent: str | None = None

    def _says(self) -> str:
        return f"{self.by} begins to start {self.process}, which has no thread yet"


@dataclass(frozen=True, kw_only=True)
class CreateProcessWithoutThread(Step):
    """Creates a process without a thread (NtCreateProcessEx). Windows announces it with its first thread."""

    action = "create_process_without_thread"
    by: ThreadRef

    def _says(self) -> str:
        return f"{self.by} creates the process {self.process} without a thread"


@dataclass(frozen=True, kw_only=True)
class FirstThread(MakesThread):
    """Creates the first thread of a process that has none."""

    action = "first_thread"

    def _says(self) -> str:
        return f"{self.by} creates the first thread of {self.process}"


@dataclass(frozen=True, kw_only=True)
class CreateThread(MakesThread):
    """A thread creates another thread in its own process."""

    action = "create_thread"

    def _says(self) -> str:
        return f"{self.by} creates a thread in its own process"


@dataclass(frozen=True, kw_only=True)
class CreateRemoteThread(MakesThread):
    """A thread of one process creates a thread in another (CreateRemoteThread)."""

    action = "create_remote_thread"

    def _says(self) -> str:
        return f"{self.by} creates a thread in {self.process}"


@dataclass(frozen=True, kw_only=True)
class AttachDebugger(MakesThread):
    """A debugger attaches (DebugActiveProcess), which creates the break-in thread unless *invasive* is false."""

    action = "attach_debugger"
    invasive: bool = True

    def _says(self) -> str:
        how = "" if self.invasive else " non-invasively"
        return f"{self.by} attaches to {self.process} as a debugger{how}"


@dataclass(frozen=True, kw_only=True)
class BreakIn(MakesThread):
    """The user presses Break: the debugger creates a break-in thread (DebugBreakProcess)."""

    action = "break_in"

    def _says(self) -> str:
        return f"{self.by} breaks into {self.process}"


@dataclass(frozen=True, kw_only=True)
class Detach(Step):
    """A debugger detaches from a process."""

    action = "detach"
    by: ThreadRef

    def _says(self) -> str:
        return f"{self.by} detaches from {self.process}"


@dataclass(frozen=True, kw_only=True)
class ConsoleControl(MakesThread):
    """Ctrl+C in a console: csrss creates a thread at the control handler."""

    action = "console_control"

    def _says(self) -> str:
        return f"{self.by} creates a thread in {self.process} for a Ctrl+C"


@dataclass(frozen=True, kw_only=True)
class ExitThread(Step):
    """A thread exits; written "notepad/worker" in a file."""

    action = "exit_thread"
    thread: str = MAIN

    def _says(self) -> str:
        return f"the thread {ThreadRef(self.process, self.thread)} exits"


@dataclass(frozen=True, kw_only=True)
class ExitProcess(Step):
    """A process exits."""

    action = "exit_process"

    def _says(self) -> str:
        return f"{self.process} exits"


@dataclass(frozen=True, kw_only=True)
class StartDetection(Step):
    """Both detectors start here and have seen no earlier step. Its value in a file is "both"."""

    action = "start_detection"

    def _says(self) -> str:
        return "both detectors start"


@dataclass(frozen=True, kw_only=True)
class Repeat(Step):
    """Repeats *steps* *times* times, one repetition every *every* (100 ns units)."""

    action = "repeat"
    times: int
    every: int
    steps: tuple[Step, ...]

    def _says(self) -> str:
        what = ", then ".join(step.sentence() for step in self.steps)
        return f"{self.times:,} times, every {duration(self.every)}: {what}"


STEPS: Final[tuple[type[Step], ...]] = (
    StartProcess,
    StartSuspended,
    StartUnderDebugger,
    Resume,
    BeginProcess,
    CreateProcessWithoutThread,
    FirstThread,
    CreateThread,
    CreateRemoteThread,
    AttachDebugger,
    BreakIn,
    Detach,
    ConsoleControl,
    ExitThread,
    ExitProcess,
    StartDetection,
    Repeat,
)
"""All steps."""

_UNITS: Final = {"min": 600_000_000, "s": 10_000_000, "ms": 10_000, "us": 10}


def parse_duration(text: str) -> int:
    """Return the duration *text*, such as "2 s", "1.5 ms" or "50 us", in 100 ns units. Raises ValueError.

    >>> parse_duration("1.5 ms")
    15000
    """
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,7})?) ?(min|s|ms|us)", text)
    if not found:
        raise ValueError(f"{text!r} is not a duration such as '2 s', '1.5 ms', '50 us' or '3 min'")
    return round(float(found[1]) * _UNITS[found[2]])


def duration(units: int) -> str:
    """Return a duration in 100 ns units as text, which `parse_duration` reads.

    >>> duration(15000)
    '1.5 ms'
    """
    for name, size in _UNITS.items():
        if units >= size and (name != "min" or units % size == 0):
            return f"{units / size:.9g} {name}"
    return f"{units / _UNITS['us']:g} us"
