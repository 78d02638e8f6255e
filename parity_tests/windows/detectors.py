"""Both live detectors: an ETW session as the monitor has it, and the loaded driver."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Final, Self

from etwdetect.comparison.pairing import between, key
from etwdetect.comparison.result import Side
from etwdetect.core.rule import DEFAULT_BOUND
from etwdetect.kdetector import Device
from etwdetect.live.eventlog import EventLog
from etwdetect.live.monitor import Monitor
from parity_tests.benches.sides import driver_statistics, etw_side
from parity_tests.errors import PerformanceError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from etwdetect.comparison.pairing import RecordIds
    from etwdetect.core.rule import RemoteThread
    from etwdetect.enrich.detection import Detection
    from etwdetect.kdetector import Statistics

_TIMEOUT_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.02
_LONGEST_NOISE: Final = 60.0
_RUNNING_TOTALS: Final = frozenset(("waiting",))


class Detectors:
    """Collects the reports of both detectors within a ``with`` block. Raises KDetectorError and LiveError.

    With *recording*, all events of the session are written to that file, as JSON lines; one that is there goes.
    """

    def __init__(self, bound: int = DEFAULT_BOUND, recording: Path | None = None) -> None:
        self.notices: list[str] = []
        """Notices of the session: lost events, or that another program stopped it."""
        self._bound = bound
        self._recording = recording
        self._stack = ExitStack()
        self._over = threading.Event()
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self._detections: list[Detection] = []
        self._driver: list[RemoteThread] = []

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._device = stack.enter_context(Device(reading=True))
            for _ in self._device.drain():
                pass
            self._before = self._device.statistics()
            tap = None
            if self._recording is not None:
                self._recording.unlink(missing_ok=True)
                tap = stack.enter_context(closing(EventLog(self._recording))).write
            self._monitor = Monitor(self._over.is_set, self.notices.append, tap=tap, bound=self._bound)
            watching = threading.Thread(target=self._watch, name="ETW side", daemon=True)
            watching.start()
            stack.callback(watching.join)
            stack.callback(self._over.set)
            self._wait(self._ready.is_set, "the session did not start")
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _watch(self) -> None:
        try:
            for found in self._monitor.poll():
                self._detections += found
                self._ready.set()
        except BaseException as error:  # noqa: BLE001 (raised again on the waiting thread)
            self._error = error

    def wait_until_quiet(self, seconds: float) -> None:
        """Wait until neither detector has reported anything for *seconds*, but at most a minute."""
        deadline = time.monotonic() + _LONGEST_NOISE
        last, since = (-1, -1), time.monotonic()
        while time.monotonic() < min(since + seconds, deadline):
            self._poll()
            now = len(self._detections), len(self._driver)
            if now != last:
                last, since = now, time.monotonic()
            time.sleep(_POLL_SECONDS)

    def wait_for(self, ids: RecordIds) -> None:
        """Wait until both detectors have reported the thread with these *ids*. Raises PerformanceError."""
        for what, records in (("the session", self._etw), ("the driver", lambda: self._driver)):
            self._wait(
                lambda records=records: any(key(record) == ids for record in records()),  # type: ignore[misc]
                f"{what} does not report the marker thread {ids[0]}:{ids[1]} -> {ids[2]}:{ids[3]}",
            )

    def sides(self, opening: RecordIds, closing: RecordIds) -> tuple[Side, Side]:
        """Return the records of both between the markers with these ids, and their counts since the start."""
        after = self._device.statistics()
        etw = etw_side(
            self._monitor.stream.rule,
            between(self._etw(), opening, closing),
            self._monitor.stream.lost.events,
            self._monitor.stream.lost.buffers,
        )
        driver = Side(between(self._driver, opening, closing), _since(self._before, after))
        return etw, driver

    def _etw(self) -> list[RemoteThread]:
        return [detection.thread for detection in self._detections]

    def _wait(self, condition: Callable[[], bool], failure: str) -> None:
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                raise PerformanceError("; ".join((f"{failure} within {_TIMEOUT_SECONDS:.0f} s", *self.notices)))
            self._poll()
            time.sleep(_POLL_SECONDS)

    def _poll(self) -> None:
        """Read the driver's records, and raise the error of the session's thread, if any."""
        if self._error is not None:
            raise self._error
        self._driver += self._device.drain()


def _since(before: Statistics, after: Statistics) -> dict[str, int]:
    then, now = driver_statistics(before), driver_statistics(after)
    return {name: count - (0 if name in _RUNNING_TOTALS else then[name]) for name, count in now.items()}
