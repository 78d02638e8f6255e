"""The actions that a thread of an agent can perform; in Wine, each notifies both detectors."""

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
    from parity_tests.windows.notifier import Notifier

ALL: Final = "all"
PROCESS_ONLY: Final = "process"
NOTHING: Final = "nothing"
"""What to notify the detectors of: a process and its first thread (or a thread), the process alone, or nothing."""

_TIMEOUT_SECONDS: Final = 15.0
_PUMP_MILLISECONDS: Final = 10


@dataclass
class _Debuggee:
    """A process that we debug; only the thread that attached to it receives its debug events."""

    pid: int
    debugger: int = field(default_factory=threading.get_ident)
    first_tid: int | None = None
    break_ins: queue.Queue[int] = field(default_factory=queue.Queue)


class Actions:
    """The actions of this process; each runs on the calling thread."""

    def __init__(self) -> None:
        self._debuggees: dict[int, _Debuggee] = {}

    @property
    def debugging(self) -> bool:
        """Whether the calling thread must call `pump` regularly."""
        return any(each.debugger == threading.get_ident() for each in self._debuggees.values())

    def start(
        self,
        command: str,
        notify_of: str,
        *,
        suspended: bool = False,
        debugged: bool = False,
        parent: int | None = None,
    ) -> Started:
        """Start a process and return its ids; *parent* is the pid of a spoofed parent."""
        started = api.start_process(command, suspended=suspended, debugged=debugged, parent=parent)
        if debugged:
            api.survive()
            self._debuggees[started.pid] = _Debuggee(started.pid)
        if notify_of != NOTHING:
            notifier().process_created(started, command, parent)
        if notify_of == ALL:
            notifier().thread_created(*started)
        return started

    def remote_thread(self, pid: int, at: str, notify_of: str) -> int:
        """Create a thread in another process and return its id."""
        return _notify_thread(pid, api.create_remote_thread(pid, at), notify_of)

    def attach(self, pid: int, notify_of: str) -> int:
        """Attach to a process as its debugger and return the id of the break-in thread."""
        debuggee = self._debuggees[pid] = _Debuggee(pid)
        api.debug(pid)
        return _notify_thread(pid, self._break_in(debuggee), notify_of)

    def break_in(self, pid: int, notify_of: str) -> int:
        """Break into a process that we debug and return the id of the break-in thread."""
        api.break_into(pid)
        return _notify_thread(pid, self._break_in(self._debuggees[pid]), notify_of)

    def detach(self, pid: int) -> None:
        """Detach from a process; must be called on the thread that attached."""
        del self._debuggees[pid]
        api.stop_debugging(pid)

    def resume(self, tid: int) -> None:
        """Resume a suspended thread."""
        api.resume(tid)

    def suspend_process(self, pid: int) -> None:
        """Suspend all threads of a process, as a non-invasive debugger does."""
        api.suspend_process(pid)

    def resume_process(self, pid: int) -> None:
        """Resume all threads of a process."""
        api.resume_process(pid)

    def notify_thread(self, pid: int, tid: int) -> None:
        """Notify both detectors of an existing thread as if the calling thread created it now."""
        notifier().thread_created(pid, tid)

    def notify_exit(self, pid: int, tid: int | None = None) -> None:
        """Notify both detectors that a process, or one of its threads, has exited."""
        if tid is None:
            notifier().process_exited(pid)
        else:
            notifier().thread_exited(pid, tid)

    def pump(self) -> None:
        """Handle the pending debug events of the calling thread's debuggees."""
        while (event := api.next_debug_event(_PUMP_MILLISECONDS)) is not None:
            debuggee = self._debuggees.get(event.pid)
            if debuggee is None:
                continue
            if event.kind == api.CREATED_PROCESS:
                debuggee.first_tid = event.tid
            elif event.exception == api.BREAKPOINT and event.tid != debuggee.first_tid:
                debuggee.break_ins.put(event.tid)

    def _break_in(self, debuggee: _Debuggee) -> int:
        """Wait for the break-in thread, which reports a breakpoint, and return its id."""
        ours = debuggee.debugger == threading.get_ident()
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        while ours and debuggee.break_ins.empty() and time.monotonic() < deadline:
            self.pump()
        try:
            return debuggee.break_ins.get(timeout=0 if ours else _TIMEOUT_SECONDS)
        except queue.Empty:
            raise TimeoutError(f"no thread broke into process {debuggee.pid}") from None


def _notify_thread(pid: int, tid: int, notify_of: str) -> int:
    if notify_of == ALL:
        notifier().thread_created(pid, tid)
    return tid


@functools.cache
def notifier() -> Notifier:
    """Return what notifies both detectors; once it is there, the stand-in logs nothing else of this process."""
    from parity_tests.windows.notifier import Notifier  # noqa: PLC0415 (exists in Wine only)

    return Notifier()
