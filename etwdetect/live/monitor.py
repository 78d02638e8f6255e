"""Monitors live: checks the session's health and turns its events into detections."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Final

from etwdetect.core.errors import EtwDetectError
from etwdetect.core.filetime import TICKS_PER_MILLISECOND
from etwdetect.core.rule import DEFAULT_BOUND
from etwdetect.live import system
from etwdetect.live.callback import RecordQueue
from etwdetect.live.capture import DELIVERY_SECONDS, Capture, stop_orphaned
from etwdetect.live.clock import MonotonicFiletime
from etwdetect.live.errors import CallbackError, SessionGoneError
from etwdetect.live.lookups import Lookups, live_enricher
from etwdetect.live.losses import Losses, loss_text
from etwdetect.live.settings import FLUSH_MILLISECONDS, Extra, SessionConfig
from etwdetect.live.stream import GRACE_PERIOD, PER_PROCESSOR_SECONDS, Stream
from etwdetect.results.status import StatusKind

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from etwdetect.core.events import Event
    from etwdetect.enrich.detection import Detection
    from etwdetect.enrich.enricher import Enricher

POLL_SECONDS: Final = 0.01
"""How long to wait between two polls of the queue."""

HEALTH_SECONDS: Final = 1.0
"""How long to wait between two health checks, and between two attempts to restart the session."""


class Monitor:
    """Monitors until *stop* returns True or *duration* seconds are over; `poll` yields the detections.

    If another program stops the session or disables its provider, the session is restarted; with *strict* that
    ends the monitor. *notify* gets a sentence for the user then, and when events are lost; *report* gets what
    receivers of the records should know. *enricher* adds the context of remote threads; *tap* gets the
    events of each turn.
    *bound* is that of the new-process table.
    """

    def __init__(  # noqa: PLR0913 (the options of a user)
        self,
        stop: Callable[[], bool],
        notify: Callable[[str], None],
        enricher: Enricher | None = None,
        *,
        report: Callable[[StatusKind, str], object] | None = None,
        config: SessionConfig | None = None,
        strict: bool = False,
        duration: float | None = None,
        tap: Callable[[list[Event]], object] | None = None,
        bound: int = DEFAULT_BOUND,
    ) -> None:
        self.queue = RecordQueue()
        self.clock = MonotonicFiletime()
        self.stream = Stream(
            self.clock.now(),
            FLUSH_MILLISECONDS * TICKS_PER_MILLISECOND,
            enricher or live_enricher("etw", GRACE_PERIOD),
            Lookups(),
            tap,
            bound=bound,
        )
        self.started = False
        """Whether a session was ever started."""
        self.gaps = 0
        """How often the session was interrupted."""
        self.restrictions: list[str] = []
        """What the session does without, and why."""
        self._stop = stop
        self._notify = notify
        self._report = report or (lambda _kind, _sentence: None)
        self._config = config or SessionConfig()
        self._strict = strict
        self._deadline = None if duration is None else time.monotonic() + duration
        self._losses = Losses()
        self._dropped = 0
        self._running = False
        self._next_check = self._next_flush = 0.0
        self._must_flush = False

    @property
    def watching(self) -> bool:
        """Whether there is a session now."""
        return self._running

    @property
    def incomplete(self) -> bool:
        """Whether events are missing, or a remote thread may have been missed."""
        lost = self.stream.lost
        return bool(self.gaps or lost.events or lost.buffers or self.stream.rule.possible_miss_count)

    def poll(self) -> Generator[list[Detection], None, None]:
        """Yield the new detections, usually none, a hundred times a second.

        Close the generator to stop the session. Raises LiveError, NotElevatedError or SystemCallError if the
        session cannot be started.
        """
        stop_orphaned(self._notify)
        with contextlib.closing(Capture(self._config, self.queue)) as capture:
            self._start(capture)
            self._report(StatusKind.STARTED, f"the session {capture.session.name} was started")
            while not self._over():
                yield self._poll()
                now = time.monotonic()
                if now >= self._next_check:
                    self._check_health(capture)
                if self._must_flush and now >= self._next_flush:
                    self._flush(capture)
                time.sleep(POLL_SECONDS)
            self._stop_session(capture)
            deadline = time.monotonic() + DELIVERY_SECONDS
            while not capture.delivered and time.monotonic() < deadline:
                yield self._poll()
                time.sleep(POLL_SECONDS)
            if not capture.delivered:
                self._gap(f"Windows did not deliver all events of the session within {DELIVERY_SECONDS:.0f} s")
            elif self._running and capture.failure is not None:
                self._gap(f"Windows stopped delivering the session {capture.session.name}: {capture.failure}")
            self._take()
            yield list(self.stream.release())

    def _over(self) -> bool:
        out_of_time = self._deadline is not None and time.monotonic() >= self._deadline
        return self._stop() or out_of_time or (self._strict and self.gaps > 0)

    def _poll(self) -> list[Detection]:
        self._take()
        return list(self.stream.release(time.monotonic(), self.clock.now()))

    def _take(self) -> None:
        """Take the queued events and the number of dropped ones."""
        if self.queue.error is not None:
            raise CallbackError(self.queue.error) from self.queue.error
        images, raws = self.queue.take_images(), self.queue.take()
        self._losses.recorded += self.stream.add(raws, images, time.monotonic())
        self._report_losses()

    def _start(self, capture: Capture) -> None:
        """Start the session, and observe the processes that are running."""
        capture.start()
        self._running = self.started = True
        self._must_flush = not capture.session.auto_flush
        self.restrictions = capture.session.applied.missing
        if self.restrictions:
            self._report(StatusKind.DEGRADED, f"the session is without {'; '.join(self.restrictions)}")
        if self._config.stacks and Extra.STACKS not in capture.session.applied.extras:
            self._notify("Windows gives no call stacks of thread starts: the records have none")
        if capture.session.per_processor:
            self.stream.window.width = PER_PROCESSOR_SECONDS
        self._next_check = time.monotonic() + HEALTH_SECONDS
        if not capture.session.reports_enablement:
            self._tell(
                StatusKind.DEGRADED,
                f"Windows does not report what is enabled in the session {capture.session.name}: missing events,"
                " or a program that disables the provider, will not be noticed; 'etwdetect doctor' may say why",
            )
        if not capture.rundown:
            self.stream.know(system.processes(self.clock.now()))

    def _stop_session(self, capture: Capture) -> None:
        """Stop the session and read the final loss counters; the remaining events are then delivered."""
        if not self._running:
            return
        try:
            self._losses.counted(capture.stop())
        except SessionGoneError as error:
            self._gap(str(error))

    def _check_health(self, capture: Capture) -> None:
        """Check whether the session still runs as configured, and restart it if not."""
        self._next_check = time.monotonic() + HEALTH_SECONDS
        if self._running:
            problem = self._health_problem(capture)
            if problem is None:
                return
            self._gap(problem)
            capture.close()
            self._losses.session_ended()
            self._running = False
        if self._strict:
            return
        try:
            self._start(capture)
        except EtwDetectError as error:
            self._notify(f"{error}; trying again")
        else:
            self._tell(StatusKind.STARTED, "the session was restarted; events in between were not seen")

    def _flush(self, capture: Capture) -> None:
        """Flush if Windows does not do so in time: its flag for a period in milliseconds is not documented."""
        self._next_flush = time.monotonic() + FLUSH_MILLISECONDS / 1000
        with contextlib.suppress(SessionGoneError):  # the next health check finds that too
            capture.session.flush()

    def _health_problem(self, capture: Capture) -> str | None:
        """Return what is wrong with the session, or None."""
        try:
            status = capture.session.query()
        except SessionGoneError as error:
            return str(error)
        self._losses.counted(status)
        if not self.queue.received and not self._must_flush:
            # The process list requested at the start should have arrived by now.
            self._must_flush = True
            self.restrictions.append("a flush in time (nothing came within a second: flushed by hand)")
            self._report(StatusKind.DEGRADED, f"the session is without {self.restrictions[-1]}")
        if not capture.session.is_enabled(status):
            return f"the provider was disabled in the session {capture.session.name} by another program"
        if not capture.delivered:
            return None
        stopped = f"Windows stopped delivering the session {capture.session.name}"
        return stopped if capture.failure is None else f"{stopped}: {capture.failure}"

    def _gap(self, problem: str) -> None:
        self.gaps += 1
        self._losses.dropped += 1  # the number is unknown; at least one must be assumed
        self._tell(StatusKind.SESSION_TAKEN, problem)

    def _tell(self, kind: StatusKind, sentence: str) -> None:
        self._notify(sentence)
        self._report(kind, sentence)

    def _report_losses(self) -> None:
        self._losses.dropped += self.queue.dropped - self._dropped
        self._dropped = self.queue.dropped
        loss = self._losses.unreported(self.clock.now())
        if loss is not None:
            self.stream.lose(loss)
            self._tell(
                StatusKind.LOST,
                f"{loss_text(loss)}: remote threads may be missing, and those found from now on may be first"
                " threads",
            )
