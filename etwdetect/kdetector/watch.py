"""Reads the driver's records continuously, across stops and starts of the driver."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Final

from etwdetect.kdetector import service
from etwdetect.kdetector.device import Device
from etwdetect.kdetector.errors import DeviceGoneError, NotRunningError
from etwdetect.windows.services import State

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from etwdetect.core.rule import RemoteThread
    from etwdetect.kdetector.interface import Statistics

POLL_SECONDS: Final = 0.2
"""How long to wait when the queue is empty; records carry the driver's time, so polling costs no accuracy."""

_STOPPING: Final = frozenset((None, State.STOPPED, State.STOP_PENDING))


class Watcher:
    """Yields remote threads until *stop* returns True or *duration* seconds are over, and counts lost records.

    An open handle keeps the driver from being unloaded: its service stays in the state STOP_PENDING until the last
    handle is closed. So each round queries that state, closes the handle when the driver is stopping, and opens
    the device again when it runs. Querying works even if the service manager does not notice that a driver has
    stopped, on which NotifyServiceStatusChange depends.

    *notify* gets a sentence for the user when the driver stops, starts or has lost records.
    """

    def __init__(
        self, stop: Callable[[], bool], notify: Callable[[str], None], *, duration: float | None = None
    ) -> None:
        self.received = 0
        """The number of records yielded."""
        self.dropped = 0
        """The number of records that the driver lost since it was loaded, including those before this watch."""
        self.evictions = 0
        """The number of evictions from its full table, likewise: each may cause a first thread to be reported."""
        self._stop = stop
        self._notify = notify
        self._deadline = None if duration is None else time.monotonic() + duration
        self._last: Statistics | None = None

    def __iter__(self) -> Generator[RemoteThread | None, None, None]:
        """Yield the records as they arrive, and None a few times a second; wait for a driver that was stopped.

        Raises the errors of opening a Device.
        """
        device: Device | None = Device(reading=True)
        while device is not None:
            with device, contextlib.suppress(DeviceGoneError):
                yield from self._read(device)
            device = yield from self._reopen()

    def _read(self, device: Device) -> Generator[RemoteThread | None, None, None]:
        self._last = None
        while True:
            # Query before draining the queue, so that the last round takes everything queued until then.
            last_round = self._over() or service.state() in _STOPPING
            for record in device.drain():
                self.received += 1
                yield record
            self._count(device.statistics())
            yield None
            if last_round:
                return
            self._pause()

    def _reopen(self) -> Generator[None, None, Device | None]:
        """Return the device when the driver runs again, or None when watching is over."""
        if self._over():
            return None
        self._notify("KDetector stops; waiting for it to start again")
        while not self._over():
            self._pause()
            yield None
            if service.state() == State.RUNNING:
                # It may be stopping again already.
                with contextlib.suppress(NotRunningError, DeviceGoneError):
                    device = Device(reading=True)
                    self._notify("KDetector is back")
                    return device
        return None

    def _count(self, now: Statistics) -> None:
        before, self._last = self._last, now
        dropped = now.dropped - (before.dropped if before else 0)
        evictions = now.evictions - (before.evictions if before else 0)
        self.dropped += dropped
        self.evictions += evictions
        if dropped:
            self._notify(f"KDetector lost records: {dropped:,} (its queue was full, or there was no memory)")
        if evictions:
            consequence = "their first threads look remote"
            self._notify(f"KDetector evicted processes from its full table: {evictions:,} ({consequence})")

    def _over(self) -> bool:
        return self._stop() or (self._deadline is not None and time.monotonic() >= self._deadline)

    def _pause(self) -> None:
        seconds = POLL_SECONDS
        if self._deadline is not None:
            seconds = min(seconds, max(0.0, self._deadline - time.monotonic()))
        time.sleep(seconds)
