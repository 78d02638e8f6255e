"""Notifies both detectors of creations and exits in Wine, whose kernel does not.

The ETW detector is notified through the stand-in for event tracing (`simetw`), the driver through the second
device that it has in Wine (`injector`). Both take the calling thread as the creator, so the notification must come
from the thread that created the process or thread.
"""

from __future__ import annotations

import os
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Final

from etwdetect.core.events import ProcessStart, ProcessStop, ThreadStart, ThreadStop
from etwdetect.sources.decode.encode import encode
from parity_tests.checkout import ROOT
from parity_tests.simulators.packed_events import NOW
from parity_tests.simulators.simetw import SimEtw
from parity_tests.windows.injector import Injector

if TYPE_CHECKING:
    from collections.abc import Callable

    from etwdetect.core.events import Event
    from parity_tests.windows.api import Started

SIMETW: Final = ROOT / "build" / "simetw" / "simetw.dll"
DRIVER: Final = ROOT / "build" / "driver" / "wine" / "KDetector.sys"


class Notifier:
    """Notifies both detectors of what the calling thread did. Raises OSError if one is not there."""

    def __init__(self) -> None:
        self._machine = SimEtw(SIMETW)

    def process_created(self, started: Started, command: str, parent: int | None) -> None:
        """Notify that this thread created a process."""
        creator = os.getpid(), threading.get_native_id()
        self._notify(
            ProcessStart(NOW, *creator, started.pid, parent or creator[0], image=command),
            Injector.process_created,
            started.pid,
        )

    def process_exited(self, pid: int) -> None:
        """Notify that a process has exited."""
        self._notify(ProcessStop(NOW, pid), Injector.process_exited, pid)

    def thread_created(self, pid: int, tid: int) -> None:
        """Notify that this thread created a thread."""
        creator = os.getpid(), threading.get_native_id()
        self._notify(ThreadStart(NOW, *creator, pid, tid), Injector.thread_created, pid, tid)

    def thread_exited(self, pid: int, tid: int) -> None:
        """Notify that a thread has exited."""
        self._notify(ThreadStop(NOW, pid, tid), Injector.thread_exited, pid, tid)

    def _notify(self, event: Event, notify: Callable[..., None], *ids: int) -> None:
        self._machine.log([encode(event)])
        # Opened for each call: scenarios reload the driver, and an open handle would outlive it.
        with closing(Injector()) as driver:
            notify(driver, *ids)
