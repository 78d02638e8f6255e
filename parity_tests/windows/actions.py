"""What a thread of an actor can do: real calls, and, in Wine, the word about them to both detectors."""

from __future__ import annotations

import functools
import queue
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from parity_tests.windows import api

if TYPE_CHECKING:
    from parity_tests.windows.api import Started
    from parity_tests.windows.notifier import Teller

BOTH: Final = "both"
PROCESS_ONLY: Final = "process"
NOBODY: Final = "nobody"
"""Who tells what of a creation: the process and its first thread, the process alone, or nothing."""

_PATIENCE: Final = 15.0
_PUMP_MILLISECONDS: Final = 10


@dataclass
class _Debuggee:
    """A process that we debug, and the thread that attached to it, which alone gets its events."""

    pid: int
    debugger: int = field(default_factory=threading.get_ident)
    first_tid: int | None = None
    break_ins: queue.Queue[int] = field(default_factory=queue.Queue)


class Deeds:
    """The deeds of this process, each done on the calling thread."""

    def __init__(self) -> None:
        self._debuggees: dict[int, _Debuggee] = {}

    @property
    def debugging(self) -> bool:
        """Whether the calling thread has to `pump`."""
        return any(each.debugger == threading.get_ident() for each in self._debuggees.values())

    def start(
        self,
        command: str,
        tell: str,
        *,
        suspended: bool = False,
        debugged: bool = False,
        parent: int | None = None,
    ) -> Started:
        """Start a process; *parent* is whose child it is to seem."""
        started = api.start_process(command, suspended=suspended, debugged=debugged, parent=parent)
        if debugged:
            api.survive()
            self._debuggees[started.pid] = _Debuggee(started.pid)
        if tell != NOBODY:
            _teller().process_created(started, command, parent)
        if tell == BOTH:
            _teller().thread_created(*started)
        return started

    def remote_thread(self, pid: int, at: str, tell: str) -> int:
        """Make a thread in another process; return its id."""
        return _told(pid, api.create_remote_thread(pid, at), tell)

    def attach(self, pid: int, tell: str) -> int:
        """Attach to a process as its debugger; return the id of the thread that breaks in."""
        debuggee = self._debuggees[pid] = _Debuggee(pid)
        api.debug(pid)
        return _told(pid, self._break_in(debuggee), tell)

    def break_in(self, pid: int, tell: str) -> int:
        """Break into a process that we debug; return the id of the thread that does."""
        api.break_into(pid)
        return _told(pid, self._break_in(self._debuggees[pid]), tell)

    def detach(self, pid: int) -> None:
        """Let go of a process; to be called on the thread that attached."""
        del self._debuggees[pid]
        api.stop_debugging(pid)

    def resume(self, tid: int) -> None:
        """Let a suspended thread run."""
        api.resume(tid)

    def suspend_process(self, pid: int) -> None:
        """Suspend all threads of a process, as a debugger does that does not touch it."""
        api.suspend_process(pid)

    def resume_process(self, pid: int) -> None:
        """Let all threads of a process go on."""
        api.resume_process(pid)

    def tell_thread(self, pid: int, tid: int) -> None:
        """Tell of a thread that is there already as if it were made now, by the calling thread."""
        _teller().thread_created(pid, tid)

    def tell_exit(self, pid: int, tid: int | None = None) -> None:
        """Tell that a process is gone, or a thread of it."""
        if tid is None:
            _teller().process_exited(pid)
        else:
            _teller().thread_exited(pid, tid)

    def pump(self) -> None:
        """Take the events of what the calling thread debugs, and let it go on."""
        while (event := api.next_debug_event(_PUMP_MILLISECONDS)) is not None:
            debuggee = self._debuggees.get(event.pid)
            if debuggee is None:
                continue
            if event.kind == api.CREATED_PROCESS:
                debuggee.first_tid = event.tid
            elif event.exception == api.BREAKPOINT and event.tid != debuggee.first_tid:
                debuggee.break_ins.put(event.tid)

    def _break_in(self, debuggee: _Debuggee) -> int:
        """Wait for the thread that breaks in, which the debugger sees by its breakpoint; return its id."""
        ours = debuggee.debugger == threading.get_ident()
        deadline = time.monotonic() + _PATIENCE
        while ours and debuggee.break_ins.empty() and time.monotonic() < deadline:
            self.pump()
        try:
            return debuggee.break_ins.get(timeout=0 if ours else _PATIENCE)
        except queue.Empty:
            raise TimeoutError(f"no thread broke into process {debuggee.pid}") from None


def _told(pid: int, tid: int, tell: str) -> int:
    if tell == BOTH:
        _teller().thread_created(pid, tid)
    return tid


@functools.cache
def _teller() -> Teller:
    from parity_tests.windows.notifier import Teller  # noqa: PLC0415 (in Wine alone is there somebody to tell)

    return Teller()
