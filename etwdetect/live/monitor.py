"""Watching live: the session's health, and the turns in which its events become detections."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Final

from etwdetect.core.filetime import TICKS_PER_MILLISECOND
from etwdetect.core.rule import DEFAULT_BOUND
from etwdetect.live import summary, system
from etwdetect.live.callback import Intake
from etwdetect.live.capture import DELIVERY_SECONDS, Capture, clear_leaked
from etwdetect.live.clock import MonotonicFiletime
from etwdetect.live.errors import CallbackError, LiveError, SessionGoneError
from etwdetect.live.lookups import Lookups, live_enricher
from etwdetect.live.losses import Losses
from etwdetect.live.session import FLUSH_MILLISECONDS, Plan
from etwdetect.live.stream import SETTLE, Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from etwdetect.core.events import Event
    from etwdetect.enrich.detection import Detection
    from etwdetect.enrich.enricher import Enricher

TURN_SECONDS: Final = 0.01
"""How long to wait between two looks at the queue."""

HEALTH_SECONDS: Final = 1.0
"""How long between two looks at the session's health, and between two attempts to have one again."""


class Monitor:
    """Watches until *stop* says so or *duration* seconds are over; `turns` gives what was found.

    A session that somebody else stops, or takes the provider from, is replaced; with *strict* that ends the
    monitor. *notify* gets a sentence for the user when that happens, or events are lost. *enricher* adds the
    words; *tap* is given every event. *bound* is that of the new-process table.
    """

    def __init__(  # noqa: PLR0913 (what a user may choose)
        self,
        stop: Callable[[], bool],
        notify: Callable[[str], None],
        enricher: Enricher | None = None,
        *,
        plan: Plan | None = None,
        strict: bool = False,
        duration: float | None = None,
        tap: Callable[[Event], object] | None = None,
        bound: int = DEFAULT_BOUND,
    ) -> None:
        self.intake = Intake()
        self.clock = MonotonicFiletime()
        self.stream = Stream(
            self.clock.now(),
            FLUSH_MILLISECONDS * TICKS_PER_MILLISECOND,
            enricher or live_enricher("etw", SETTLE),
            Lookups(),
            tap,
            bound=bound,
        )
        self.started = False
        """Whether there was a session at all."""
        self.gaps = 0
        """How often the session was taken away from outside."""
        self._stop = stop
        self._notify = notify
        self._plan = plan or Plan()
        self._strict = strict
        self._deadline = None if duration is None else time.monotonic() + duration
        self._losses = Losses()
        self._dropped = 0
        self._watching = False
        self._next_look = self._next_flush = 0.0
        self._flushes_by_hand = False

    @property
    def incomplete(self) -> bool:
        """Whether events are missing."""
        return bool(self.gaps or self.stream.lost.events or self.stream.lost.buffers)

    def turns(self) -> Generator[list[Detection], None, None]:
        """Yield what each turn has found, nothing for most, a hundred times a second.

        Close the generator, so that the session ends with it. Raises LiveError where the session can't be had,
        and CallbackError.
        """
        clear_leaked(self._notify)
        with contextlib.closing(Capture(self._plan, self.intake)) as capture:
            self._begin(capture)
            while not self._over():
                yield self._turn()
                now = time.monotonic()
                if now >= self._next_look:
                    self._look_after(capture)
                if self._flushes_by_hand and now >= self._next_flush:
                    self._flush(capture)
                time.sleep(TURN_SECONDS)
            self._end(capture)
            deadline = time.monotonic() + DELIVERY_SECONDS
            while not capture.delivered and time.monotonic() < deadline:
                yield self._turn()
                time.sleep(TURN_SECONDS)
            if not capture.delivered:
                self._gap(f"Windows has not delivered all of the session within {DELIVERY_SECONDS:.0f} s")
            self._take()
            yield list(self.stream.release())

    def _over(self) -> bool:
        out_of_time = self._deadline is not None and time.monotonic() >= self._deadline
        return self._stop() or out_of_time or (self._strict and self.gaps > 0)

    def _turn(self) -> list[Detection]:
        self._take()
        return list(self.stream.release(time.monotonic(), self.clock.now()))

    def _take(self) -> None:
        """Take what the callback has queued, and what it could not."""
        if self.intake.error is not None:
            raise CallbackError(self.intake.error) from self.intake.error
        images, raws = self.intake.take_images(), self.intake.take()
        self._losses.recorded += self.stream.add(raws, images, time.monotonic())
        self._lose()

    def _begin(self, capture: Capture) -> None:
        """Start the session, and have its start known: which processes there are."""
        capture.start()
        self._watching = self.started = True
        self._flushes_by_hand = not capture.session.flushes
        self._next_look = time.monotonic() + HEALTH_SECONDS
        if not capture.session.tells:
            self._notify(
                f"Windows does not show what is enabled in the session {capture.session.name}: if nothing comes,"
                " or somebody disables the provider, that is not noticed; 'etwdetect doctor' may say why"
            )
        if not self._plan.kernel_logger and not capture.session.capture_state():
            self.stream.know(system.processes(self.clock.now()))

    def _end(self, capture: Capture) -> None:
        """Stop the session; Windows then has its last word on what was lost, and delivers the rest."""
        if not self._watching:
            return
        try:
            self._losses.counted(capture.stop())
        except SessionGoneError as error:
            self._gap(str(error))

    def _look_after(self, capture: Capture) -> None:
        """See whether the session still is as we made it, and have it back if not."""
        self._next_look = time.monotonic() + HEALTH_SECONDS
        if self._watching:
            what = self._illness(capture)
            if what is None:
                return
            self._gap(what)
            capture.close()
            self._losses.session_ended()
            self._watching = False
        if self._strict:
            return
        try:
            self._begin(capture)
        except LiveError as error:
            self._notify(f"{error}; trying again")
        else:
            self._notify("the session is back; what happened in between was not seen")

    def _flush(self, capture: Capture) -> None:
        """Flush where Windows does not do it in time: its flag for milliseconds is not documented."""
        self._next_flush = time.monotonic() + FLUSH_MILLISECONDS / 1000
        with contextlib.suppress(SessionGoneError):  # which the next look at its health finds, too
            capture.session.flush()

    def _illness(self, capture: Capture) -> str | None:
        """Return what is wrong with the session, None where nothing is."""
        try:
            state = capture.session.query()
        except SessionGoneError as error:
            return str(error)
        self._losses.counted(state)
        # The list of processes that was asked for should be here by now.
        self._flushes_by_hand |= not self.intake.received
        if not capture.session.listens(state):
            return f"the provider was disabled in the session {capture.session.name} from outside"
        return f"Windows delivers no more of the session {capture.session.name}" if capture.delivered else None

    def _gap(self, what: str) -> None:
        self.gaps += 1
        self._losses.dropped += 1  # nobody knows how many, but one at the least is to be feared
        self._notify(what)

    def _lose(self) -> None:
        self._losses.dropped += self.intake.dropped - self._dropped
        self._dropped = self.intake.dropped
        loss = self._losses.untold(self.clock.now())
        if loss is not None:
            self.stream.lose(loss)
            self._notify(
                f"{summary.lost(loss)}: remote threads may be missing, and those found from now on may be first"
                " threads"
            )
