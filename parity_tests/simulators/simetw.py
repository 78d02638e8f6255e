"""The simulated machine's event tracing, from Python in the Windows lab.

``make -C simetw`` builds the library, simetw/README.md describes the machine, simetw/dll/SimEtw.h each call.
Which machine it is, the environment variable ETWDETECT_SIMETW says; a program that runs with the same value
is on the same machine.
"""

from __future__ import annotations

import ctypes
import enum
import time
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

from etwdetect.core.raw import KERNEL_PROCESS
from etwdetect.live.clock import filetime_now
from etwdetect.sources.decode import system_trace
from etwdetect.sources.etl.reader import Trace
from etwdetect.sources.etl.records import hook_ids
from etwdetect.sources.etl.walk import Wanted
from parity_tests.simulators import packed_events

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from etwdetect.core.raw import RawEvent
    from parity_tests.simulators.packed_events import SimProcess

NEVER_DRAINED: Final = (1 << 64) - 1
"""The logger delay of a logger thread that hangs."""

ALWAYS: Final = (1 << 32) - 1
"""How often a call fails that fails until it is told otherwise."""

_NAME_LENGTH = 1024
_MOST_SESSIONS = 64
_ENOUGH_AT_ONCE = 1 << 20
_STEP_SECONDS = 0.005
_FILETIME_PER_SECOND = 10_000_000

_STATE = Struct(f"<16s8I{_NAME_LENGTH * 2}s{_NAME_LENGTH * 2}sQ8I")
_REPEAT = Struct("<QQII")
_RUNNING = Struct("<III")


class Setting(enum.IntEnum):
    """What can be set of the machine; `SimEtw.reset` sets all back to what stands behind each."""

    CPUS = 0
    """2"""
    BUILD = 1
    """19045. Below 9200 (Windows 8) there is no process rundown and no system logger but the one."""
    ELEVATED = 2
    """1. With 0 every call is refused, with error 5."""
    MILLISECOND_FLUSH = 3
    """A FlushFlag: HONOURED."""
    LOGGER_DELAY = 4
    """0. Milliseconds from a full buffer until the logger thread has emptied it, or NEVER_DRAINED."""
    BACKLOG = 5
    """0. How many buffers may wait for a consumer before more are lost; 0: as many as the session may have."""
    DISK_FULL = 6
    """0. With 1 every buffer for a file is lost."""
    KERNEL_PROCESS_REGISTERED = 7
    """1"""
    NAME_HELD = 8
    """100. Milliseconds for which the name of a stopped session stays taken: StartTrace fails with 183."""
    SHARED_LOSS = 9
    """1. An event that one session has no room for is lost to all but the independent ones, uncounted."""
    ONE_STREAM_LIMIT = 10
    """0. Events a second that a session with one stream of buffers takes before it loses some; 0: any number."""
    LISTING_REFUSED = 11
    """1. Who is not elevated gets error 5 from QueryAllTraces; with 0 an empty list."""
    CAPTURE_STATE_FROM = 12
    """10586. The first build that lists its processes by CAPTURE_STATE."""
    ACTIVITY = 13
    """1. Processes and threads that a program creates are logged to its own sessions, unless it is a test's.

    With 0 they are not, with 2 without their creator.
    """


class FlushFlag(enum.IntEnum):
    """What this Windows does with EVENT_TRACE_USE_MS_FLUSH_TIMER."""

    REFUSED = 0
    """StartTrace fails with error 87."""
    HONOURED = 1
    IGNORED = 2
    """FlushTimer counts seconds."""


class Call(enum.IntEnum):
    """A function that can be told to fail."""

    START = 0
    ENABLE = 1
    OPEN = 2
    PROCESS = 3
    CONTROL = 4


class RunningId(NamedTuple):
    """A u32 at *offset* in the payload of the *event*th repeated event that grows by *step* every round."""

    event: int
    offset: int
    step: int = 4


class SimSession(NamedTuple):
    """A session that exists, as its query would tell, and how many read it."""

    name: str
    handle: int
    log_file: str
    buffer_size: int
    minimum_buffers: int
    maximum_buffers: int
    mode: int
    flush_timer: int
    enable_flags: int
    clock: int
    number_of_buffers: int
    free_buffers: int
    events_lost: int
    buffers_written: int
    log_buffers_lost: int
    real_time_buffers_lost: int
    consumers: int
    enabled_providers: int


class SimEtw:
    """The machine that ETWDETECT_SIMETW names. Raises OSError where there is no such library.

    A call that Windows would not let fail raises OSError too, with Windows' error.
    """

    def __init__(self, library: Path) -> None:
        self._library = ctypes.CDLL(str(library))
        self._call("sim_drive")

    def reset(self) -> None:
        """Reset the machine: no sessions, no pending failures, every setting at its default."""
        self._call("sim_reset")

    def set(self, setting: Setting, value: int) -> None:
        """Change one of the machine's settings. Sessions keep the buffers that they have."""
        self._call("sim_set", ctypes.c_uint32(setting), ctypes.c_uint64(value))

    def fail(self, call: Call, error: int, times: int = 1) -> None:
        """Make the next calls fail with Windows' *error*; a ProcessTrace that is running ends with it at once."""
        self._call("sim_fail", ctypes.c_uint32(call), ctypes.c_uint32(error), ctypes.c_uint32(times))

    def set_processes(self, processes: Sequence[SimProcess]) -> None:
        """Set the processes that exist: those that CAPTURE_STATE and the rundowns of system loggers list."""
        lists = packed_events.capture_state, packed_events.session_start, packed_events.session_end
        for which, make in enumerate(lists):
            packed = packed_events.pack_events(make(processes))
            self._call("sim_set_rundown", ctypes.c_uint32(which), packed, ctypes.c_size_t(len(packed)))

    def log(self, events: Iterable[RawEvent], *, cpus: Callable[[RawEvent], int] | None = None) -> None:
        """Log *events* in order, each at its own time (0: now), on the CPU that *cpus* returns."""
        self.log_packed(packed_events.pack_events(events, cpus=cpus))

    def log_packed(self, packed: bytes) -> None:
        """Log events that `packed_events.pack_events` packed."""
        self._call("sim_log", packed, ctypes.c_size_t(len(packed)))

    def repeat(
        self,
        events: Iterable[RawEvent],
        rounds: int,
        *,
        running: Sequence[RunningId] = (),
        events_per_second: int = 0,
        wait_for_consumer: bool = False,
    ) -> None:
        """Log *events* *rounds* times and return when the last is logged.

        *events_per_second* 0 means no limit. With *wait_for_consumer*, logging pauses while half of the buffers
        that may wait for a consumer are waiting.
        """
        head = _REPEAT.pack(rounds, events_per_second, wait_for_consumer, len(running))
        request = head + b"".join(_RUNNING.pack(*each) for each in running) + packed_events.pack_events(events)
        self._call("sim_repeat", request, ctypes.c_size_t(len(request)))

    def replay(
        self, events: Iterable[RawEvent], speed: float = 1.0, *, cpus: Callable[[RawEvent], int] | None = None
    ) -> int:
        """Log *events* at the intervals of their times, *speed* times as fast, the first one now.

        Their times are shifted accordingly. Returns the number of events.
        """
        count, first, began = 0, None, time.monotonic()
        base = filetime_now()
        ready: list[bytes] = []
        for event in events:
            first = event.time if first is None else first
            due = (event.time - first) / speed
            if ready and (
                began + due / _FILETIME_PER_SECOND > time.monotonic() + _STEP_SECONDS or len(ready) > 1000
            ):
                self.log_packed(b"".join(ready))
                ready.clear()
            while (wait := began + due / _FILETIME_PER_SECOND - time.monotonic()) > _STEP_SECONDS:
                time.sleep(wait)
            cpu = cpus(event) if cpus else 0
            ready.append(packed_events.pack_event(event, cpu=cpu, time=base + int(due)))
            count += 1
        self.log_packed(b"".join(ready))
        return count

    def replay_trace(self, path: Path, speed: float = 1.0) -> int:
        """Replay the process, thread and image events of the .etl at *path*, in order; return their number."""
        classes = system_trace.EVENTS.items()
        hooks = {hook for provider, kinds in classes for hook in hook_ids(provider, frozenset(kinds))}
        with path.open("rb") as file:
            trace = Trace(file, str(path))
            return self.replay(trace.records(Wanted(hooks, (KERNEL_PROCESS,))), speed)

    def sessions(self) -> list[SimSession]:
        """Return all sessions of the machine."""
        room = ctypes.create_string_buffer(_MOST_SESSIONS * _STATE.size)
        count = ctypes.c_uint32()
        self._call("sim_list", room, ctypes.c_uint32(_MOST_SESSIONS), ctypes.byref(count))
        return [_session(room.raw, number * _STATE.size) for number in range(count.value)]

    def stop_session(self, name: str) -> None:
        """Stop the session *name*, as another administrator would."""
        self._call("sim_stop_session", ctypes.c_wchar_p(name))

    def disable_provider(self, session: str, provider: bytes = KERNEL_PROCESS) -> None:
        """Disable *provider* in the session named, as another administrator would."""
        self._call("sim_disable_provider", ctypes.c_wchar_p(session), provider)

    def _call(self, name: str, *arguments: object) -> None:
        error = getattr(self._library, name)(*arguments)
        if error:
            raise OSError(None, f"{name}: Windows error {error}", None, error)


def _session(states: bytes, at: int) -> SimSession:
    (
        _, buffer_size, minimum, maximum, _, mode, flush_timer, enable_flags, clock, name, log_file, handle,
        *counts,
    ) = _STATE.unpack_from(states, at)  # fmt: skip
    settings = buffer_size, minimum, maximum, mode, flush_timer, enable_flags, clock
    return SimSession(_text(name), handle, _text(log_file), *settings, *counts)


def _text(data: bytes) -> str:
    return data.decode("utf-16-le", "surrogatepass").partition("\0")[0]
