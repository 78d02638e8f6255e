"""Reading the driver's records for as long as somebody wants them, across stops and starts of the driver."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Final

from etwdetect.kdetector import service
from etwdetect.kdetector.device import Device
from etwdetect.kdetector.errors import DeviceGoneError, NotRunningError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from etwdetect.core.rule import RemoteThread
    from etwdetect.kdetector.interface import Statistics

POLL_SECONDS: Final = 0.2
"""How long to wait once the queue is empty; the records have the driver's time, so none of it is lost."""

_ENDING: Final = frozenset((None, service.State.STOPPED, service.State.STOP_PENDING))


class Watcher:
    """Yields remote threads until *stop* says so or *duration* seconds are over, and counts what was lost.

    An open handle keeps the driver from being unloaded: Windows leaves its service in the state STOP_PENDING
    until the last one is closed. So every round asks for the service's state, the handle is closed when it is
    that, and the device is opened again once the driver is back. Asking does not depend on the service manager
    noticing by itself that a driver has stopped, as waiting in NotifyServiceStatusChange would.

    *notify* gets a sentence for the user when the driver goes, comes back or has lost records.
    """

    def __init__(
        self, stop: Callable[[], bool], notify: Callable[[str], None], *, duration: float | None = None
    ) -> None:
        self.received = 0
        """The records that were yielded."""
        self.dropped = 0
        """The records that the driver lost, before it was watched as well: since each load that was seen."""
        self.evictions = 0
        """How often its table was full, likewise: that process's first thread may count as a remote one."""
        self._stop = stop
        self._notify = notify
        self._deadline = None if duration is None else time.monotonic() + duration
        self._last: Statistics | None = None

    def __iter__(self) -> Generator[RemoteThread | None, None, None]:
        """Yield the records as they come, and None a few times a second; a driver that goes away is waited for.

        Raises what Device raises when it is opened.
        """
        device: Device | None = Device(reading=True)
        while device is not None:
            with device, contextlib.suppress(DeviceGoneError):
                yield from self._read(device)
            device = yield from self._reopen()

    def _read(self, device: Device) -> Generator[RemoteThread | None, None, None]:
        self._last = None
        while True:
            # Asked before the queue is drained, so that the last round still takes all that was there then.
            last_round = self._over() or service.state() in _ENDING
            for record in device.drain():
                self.received += 1
                yield record
            self._count(device.statistics())
            yield None
            if last_round:
                return
            self._pause()

    def _reopen(self) -> Generator[None, None, Device | None]:
        """Return the device once the driver is back; None when nobody wants to wait any more."""
        if self._over():
            return None
        self._notify("KDetector stops; waiting for it to start again")
        while not self._over():
            self._pause()
            yield None
            if service.state() == service.State.RUNNING:
                # It may be stopping again by now.
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
            self._notify(f"KDetector pushed processes out of its full table: {evictions:,} ({consequence})")

    def _over(self) -> bool:
        return self._stop() or (self._deadline is not None and time.monotonic() >= self._deadline)

    def _pause(self) -> None:
        seconds = POLL_SECONDS
        if self._deadline is not None:
            seconds = min(seconds, max(0.0, self._deadline - time.monotonic()))
        time.sleep(seconds)
