"""The words of a scenario: each step as a small record with typed arguments.

A step is an abstract action of processes and threads that are known by name. The model and file benches turn
steps into events (`story`); the wine and vm benches perform them. Durations are in 100 ns units.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Final, Literal, NamedTuple, Self

MAIN: Final = "main"
"""The name of a process's first thread, where a scenario gives it no other."""

NUMBER: Final = "{n}"
"""In a repeated step's names: which repetition it is, from 1."""

BREAK_IN: Final = "ntdll.dll!DbgUiRemoteBreakin"
_PLACES: Final = {"nowhere": "in no image", "kernel": "in the kernel"}

CONTROL_HANDLER: Final = "kernelbase.dll!CtrlRoutine"


class Who(NamedTuple):
    """A thread, by the names of its process and itself; in a file "notepad" or "notepad/worker"."""

    process: str
    thread: str = MAIN

    def __str__(self) -> str:
        return self.process if self.thread == MAIN else f"{self.process}/{self.thread}"


@dataclass(frozen=True, kw_only=True)
class Step:
    """Anything that happens; *action* is its name in a file, whose value is the process it happens to.

    *after*: how long after the step before, or None for the story's own pace. *cpu*: on which CPU the event is
    logged. *lost_by_etw*: ETW loses the events of this step.
    """

    action: ClassVar[str] = ""
    process: str = ""
    after: int | None = None
    cpu: int | None = None
    lost_by_etw: bool = False

    def sentence(self) -> str:
        """Say in English what happens."""
        lost = " (which ETW loses)" if self.lost_by_etw else ""
        return self._says() + lost

    def _says(self) -> str:
        raise NotImplementedError

    def numbered(self, number: int) -> Self:
        """Return this step of the repetition *number*."""
        changes: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, str) and NUMBER in value:
                changes[field.name] = value.replace(NUMBER, str(number))
            elif isinstance(value, Who) and NUMBER in str(value):
                changes[field.name] = Who(*(part.replace(NUMBER, str(number)) for part in value))
        return replace(self, **changes) if changes else self


@dataclass(frozen=True, kw_only=True)
class MakesThread(Step):
    """A step in which thread *by* makes a thread in *process*.

    *named*: the new thread's name in this story; *tid*: its id, where it matters; *at*: its start address, as
    "image!function", "nowhere" (in no image) or "kernel". *etw_creator*: "unknown" where ETW does not say who.
    """

    by: Who
    tid: int | None = None
    named: str | None = None
    at: str | None = None
    etw_creator: Literal["known", "unknown"] = "known"

    def sentence(self) -> str:
        """Say in English what happens, and what is said of the thread."""
        said = super().sentence()
        notes = [f"called {self.named}"] if self.named else []
        notes += [f"with the id {self.tid}"] if self.tid else []
        notes += [f"starting {_PLACES.get(self.at, f'at {self.at}')}"] if self.at else []
        notes += ["made by whom ETW does not say"] if self.etw_creator == "unknown" else []
        of_what = "" if "thread" in said else "thread "
        return f"{said} ({of_what}{', '.join(notes)})" if notes else said


@dataclass(frozen=True, kw_only=True)
class StartProcess(MakesThread):
    """A program is started: a process, its first thread by the same creator, its images."""

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
    """A program is started, but its first thread does not run yet: no image is mapped but its own and ntdll."""

    action = "start_suspended"

    def _says(self) -> str:
        return f"{self.by} starts {self.process} suspended{self._as_a_child}"


@dataclass(frozen=True, kw_only=True)
class StartUnderDebugger(StartProcess):
    """A debugger starts its debuggee, and is attached to it from the beginning."""

    action = "start_under_debugger"

    def _says(self) -> str:
        return f"{self.by} starts {self.process} and debugs it from the beginning"


@dataclass(frozen=True, kw_only=True)
class Resume(Step):
    """A suspended process goes on."""

    action = "resume"
    by: Who

    def _says(self) -> str:
        return f"{self.by} lets {self.process} run"


@dataclass(frozen=True, kw_only=True)
class BeginProcess(Step):
    """A process is announced, and its first thread is still to come: the moment between both notifications."""

    action = "begin_process"
    by: Who
    parent: str | None = None

    def _says(self) -> str:
        return f"{self.by} begins to start {self.process}, which has no thread yet"


@dataclass(frozen=True, kw_only=True)
class CreateProcessWithoutThread(Step):
    """A process is made without a thread (NtCreateProcessEx). Windows announces it with its first thread."""

    action = "create_process_without_thread"
    by: Who

    def _says(self) -> str:
        return f"{self.by} creates the process {self.process} without a thread"


@dataclass(frozen=True, kw_only=True)
class FirstThread(MakesThread):
    """A process that has no thread gets its first one."""

    action = "first_thread"

    def _says(self) -> str:
        return f"{self.by} gives {self.process} its first thread"


@dataclass(frozen=True, kw_only=True)
class CreateThread(MakesThread):
    """A thread makes another one in its own process."""

    action = "create_thread"

    def _says(self) -> str:
        return f"{self.by} makes a thread in its own process"


@dataclass(frozen=True, kw_only=True)
class CreateRemoteThread(MakesThread):
    """A thread of one process makes a thread in another one (CreateRemoteThread)."""

    action = "create_remote_thread"

    def _says(self) -> str:
        return f"{self.by} makes a thread in {self.process}"


@dataclass(frozen=True, kw_only=True)
class AttachDebugger(MakesThread):
    """A debugger attaches (DebugActiveProcess), which makes the break-in thread; unless it is not *invasive*."""

    action = "attach_debugger"
    invasive: bool = True

    def _says(self) -> str:
        how = "" if self.invasive else " without touching it (non-invasively)"
        return f"{self.by} attaches to {self.process} as a debugger{how}"


@dataclass(frozen=True, kw_only=True)
class BreakIn(MakesThread):
    """The user presses Break: the debugger makes a break-in thread (DebugBreakProcess)."""

    action = "break_in"

    def _says(self) -> str:
        return f"{self.by} breaks into {self.process}"


@dataclass(frozen=True, kw_only=True)
class Detach(Step):
    """A debugger lets go of a process."""

    action = "detach"
    by: Who

    def _says(self) -> str:
        return f"{self.by} detaches from {self.process}"


@dataclass(frozen=True, kw_only=True)
class ConsoleControl(MakesThread):
    """Ctrl+C in a console: csrss makes a thread at the control handler."""

    action = "console_control"

    def _says(self) -> str:
        return f"{self.by} makes a thread in {self.process} for a Ctrl+C"


@dataclass(frozen=True, kw_only=True)
class ExitThread(Step):
    """A thread ends; a file says which as "notepad/worker"."""

    action = "exit_thread"
    thread: str = MAIN

    def _says(self) -> str:
        return f"the thread {Who(self.process, self.thread)} ends"


@dataclass(frozen=True, kw_only=True)
class ExitProcess(Step):
    """A process ends."""

    action = "exit_process"

    def _says(self) -> str:
        return f"{self.process} ends"


@dataclass(frozen=True, kw_only=True)
class StartDetection(Step):
    """Both detectors begin here; what came before was seen by neither. In a file its value is "both"."""

    action = "start_detection"

    def _says(self) -> str:
        return "both detectors begin to watch"


@dataclass(frozen=True, kw_only=True)
class Repeat(Step):
    """*steps* happen *times* times, *every* so often; each repetition keeps its own pace."""

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
"""Every step there is."""

_UNITS: Final = {"min": 600_000_000, "s": 10_000_000, "ms": 10_000, "us": 10}


def parse_duration(text: str) -> int:
    """Return *text*, such as "2 s", "1.5 ms" or "50 us", in 100 ns units; ValueError where it is none.

    >>> parse_duration("1.5 ms")
    15000
    """
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,7})?) ?(min|s|ms|us)", text)
    if not found:
        raise ValueError(f"{text!r} is no duration such as '2 s', '1.5 ms', '50 us' or '3 min'")
    return round(float(found[1]) * _UNITS[found[2]])


def duration(units: int) -> str:
    """Return *units* of 100 ns as a person writes them.

    >>> duration(15000)
    '1.5 ms'
    """
    for name, size in _UNITS.items():
        if units >= size and (name != "min" or units % size == 0):
            return f"{units / size:.9g} {name}"
    return f"{units / _UNITS['us']:g} us"
