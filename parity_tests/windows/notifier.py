"""Tells both detectors what was made, where no kernel does: in Wine.

The detector without a driver is told through the stand-in for event tracing (`simetw`), the driver through the
second device that it has in Wine (`injector`). Both take the calling thread for the creator, so whoever made
something tells of it, on the thread that did.
"""

from __future__ import annotations

import os
import threading
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

from etwdetect.core.events import ProcessStart, ProcessStop, ThreadStart, ThreadStop
from etwdetect.sources.decode.encode import encode
from parity_tests.simulators.packed_events import NOW
from parity_tests.simulators.simetw import SimEtw
from parity_tests.windows.injector import Injector

if TYPE_CHECKING:
    from collections.abc import Callable

    from etwdetect.core.events import Event
    from parity_tests.windows.api import Started

_CHECKOUT: Final = Path(__file__).resolve().parents[2]
SIMETW: Final = _CHECKOUT / "build" / "simetw" / "simetw.dll"
DRIVER: Final = _CHECKOUT / "build" / "driver" / "wine" / "KDetector.sys"


class Teller:
    """Tells of what the calling thread did. Raises OSError where there is nobody to tell."""

    def __init__(self) -> None:
        self._machine = SimEtw(SIMETW)

    def process_created(self, started: Started, command: str, parent: int | None) -> None:
        """Tell that this thread made a process."""
        creator = os.getpid(), threading.get_native_id()
        self._tell(
            ProcessStart(NOW, *creator, started.pid, parent or creator[0], image=command),
            Injector.process_created,
            started.pid,
        )

    def process_exited(self, pid: int) -> None:
        """Tell that a process is gone."""
        self._tell(ProcessStop(NOW, pid), Injector.process_exited, pid)

    def thread_created(self, pid: int, tid: int) -> None:
        """Tell that this thread made one."""
        creator = os.getpid(), threading.get_native_id()
        self._tell(ThreadStart(NOW, *creator, pid, tid), Injector.thread_created, pid, tid)

    def thread_exited(self, pid: int, tid: int) -> None:
        """Tell that a thread is gone."""
        self._tell(ThreadStop(NOW, pid, tid), Injector.thread_exited, pid, tid)

    def _tell(self, event: Event, notify: Callable[..., None], *ids: int) -> None:
        self._machine.log([encode(event)])
        # Opened for each call: an open handle would outlive the driver, which is loaded anew for some scenarios.
        with closing(Injector()) as driver:
            notify(driver, *ids)
