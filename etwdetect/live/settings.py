"""What a session is asked for, and what of it is given up where Windows refuses it."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from etwdetect.live.callback import MANIFEST_IDS
from etwdetect.windows import tracing

if TYPE_CHECKING:
    from pathlib import Path

FLUSH_MILLISECONDS: Final = 100
"""The longest time an event may stay in a buffer."""

BUFFER_KIB: Final = 256
FEWEST_BUFFERS: Final = 64
MOST_BUFFERS: Final = 256
"""In a measured burst, 256 KiB buffers lost no process starts, and 32 KiB buffers, the usual size, up to half of
them. An image event takes about 250 bytes, so 64 buffers (16 MiB) hold 60,000 events. During a burst Windows may
allocate up to 256 buffers (64 MiB), which hold 250,000 events even if none is consumed meanwhile."""

KEYWORDS: Final = 0x10 | 0x20 | 0x40  # PROCESS, THREAD, IMAGE
LEVEL: Final = 4
FLAGS: Final = 0x1 | 0x2 | 0x4  # EVENT_TRACE_FLAG_PROCESS, _THREAD, _IMAGE_LOAD

_SEQUENTIAL_FILE: Final = 0x0000_0001
_REAL_TIME: Final = 0x0000_0100
_SYSTEM_LOGGER: Final = 0x0200_0000
_FIRST_INDEPENDENT: Final = 9600
"""Windows 8.1, the first with independent sessions."""
_FIRST_WITH_STACK_FILTER: Final = 9600
"""Windows 8.1 by the SDK's header, Windows 10 1709 by the recorder's documentation: an older one may refuse it."""

START, ENABLE, ASK_FOR_STACKS = "StartTrace", "EnableTraceEx2", "TraceSetInformation"
"""The calls that begin a session."""


class Extra(enum.Enum):
    """What a session does better with, but can do without: its words, the call that may refuse it, its flag.

    In the order in which they are given up. A flag of LogFileMode can be read back from the session.
    """

    MILLISECONDS = "the flush timer in milliseconds", START, 0x0000_0010
    """EVENT_TRACE_USE_MS_FLUSH_TIMER of ntwmi.h, Windows 7 and later."""
    INDEPENDENT = "independent session mode", START, 0x0800_0000
    """EVENT_TRACE_INDEPENDENT_SESSION_MODE. Without it, an event that one session of its provider has no room for
    is delivered to none of them, and no counter tells."""
    STACKS = "the call stacks of thread starts", ENABLE, 0
    """EVENT_ENABLE_PROPERTY_STACK_TRACE, with a filter for the one event: stacks of all would cost too much."""
    KERNEL_STACKS = "the call stacks of thread starts", ASK_FOR_STACKS, 0
    """The same of a system logger, which needs SeSystemProfilePrivilege."""
    ID_FILTER = "the event-id filter", ENABLE, 0
    """Without it, thread exits and events of no use fill the buffers too."""
    ONE_STREAM = "one stream of buffers for all processors", START, 0x1000_0000
    """EVENT_TRACE_NO_PER_PROCESSOR_BUFFERING. Without it, events come out of order by up to the flush timer."""

    def __init__(self, words: str, call: str, flag: int) -> None:
        self.words = words
        self.call = call
        self.flag = flag


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """What a session records, and where to: to a consumer, or into *file*.

    *kernel_logger* selects a system logger session instead of the provider Microsoft-Windows-Kernel-Process,
    *per_processor* a stream of buffers for each processor instead of one for all. *stacks* asks for the call
    stacks of thread starts.
    """

    kernel_logger: bool = False
    file: Path | None = None
    per_processor: bool = False
    stacks: bool = False

    def extras(self) -> frozenset[Extra]:
        """Return what a session of this kind should have on this Windows."""
        found = set()
        if self.file is None:  # in a file each flush takes the space of a full buffer, and a reader sorts it
            found.add(Extra.MILLISECONDS)
            if not self.per_processor:
                found.add(Extra.ONE_STREAM)
        if not self.kernel_logger:
            found.add(Extra.ID_FILTER)
        if tracing.build() >= _FIRST_INDEPENDENT:
            found.add(Extra.INDEPENDENT)
        if self.stacks and (self.kernel_logger or tracing.build() >= _FIRST_WITH_STACK_FILTER):
            found.add(Extra.KERNEL_STACKS if self.kernel_logger else Extra.STACKS)
        return frozenset(found)

    def mode(self, extras: frozenset[Extra]) -> int:
        """Return the LogFileMode of a session that has *extras*."""
        mode = _REAL_TIME if self.file is None else _SEQUENTIAL_FILE
        if self.kernel_logger:
            mode |= _SYSTEM_LOGGER
        return mode | sum(extra.flag for extra in extras)


class AppliedSettings:
    """The extras of a session: those it has, and those it had to do without, in words."""

    def __init__(self, config: SessionConfig) -> None:
        self.extras = config.extras()
        self.missing: list[str] = []
        """What the session does without, and why."""

    def give_up(self, call: str) -> bool:
        """Give up the next extra that *call* may have refused; return whether there was one."""
        for extra in Extra:
            if extra in self.extras and extra.call == call:
                self.extras -= {extra}
                self.missing.append(f"{extra.words} ({call} refused it)")
                return True
        return False

    def read_back(self, mode: int) -> None:
        """Take the LogFileMode that a query returned: a flag that is missing there has no effect."""
        for extra in sorted(self.extras, key=lambda extra: extra.flag):
            if extra.flag & ~mode:
                self.extras -= {extra}
                self.missing.append(f"{extra.words} (Windows ignored it)")

    @property
    def ids(self) -> tuple[int, ...]:
        """The event ids to filter for; empty for no filter."""
        return MANIFEST_IDS if Extra.ID_FILTER in self.extras else ()
