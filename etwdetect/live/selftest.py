"""Starts a session as the monitor does, does something that it must report, and says what came of it."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from etwdetect.core.errors import EtwDetectError
from etwdetect.core.events import ImageLoad, Loss, ProcessRundown, ProcessStart, ThreadStart
from etwdetect.core.filetime import TICKS_PER_MILLISECOND
from etwdetect.live.callback import RecordQueue, raw_event
from etwdetect.live.capture import Capture
from etwdetect.live.clock import MonotonicFiletime
from etwdetect.live.errors import SessionGoneError
from etwdetect.live.losses import loss_text
from etwdetect.live.settings import FLUSH_MILLISECONDS
from etwdetect.live.stack_counts import count_stacks
from etwdetect.sources.decode import Decoder

if TYPE_CHECKING:
    from collections.abc import Callable

    from etwdetect.core.events import Event
    from etwdetect.core.raw import RawEvent
    from etwdetect.live.session import SessionSettings
    from etwdetect.live.settings import SessionConfig
    from etwdetect.live.stack_counts import StackCounts

SECONDS: Final = 8.0
"""How long what must come may take, on the busiest machine, once anything came."""

_LIST_SECONDS: Final = 3.0
"""How long the list of running processes may take; it is the first that comes."""

_SILENT_SECONDS: Final = 1.0
"""How long what must come is waited for where nothing came at all."""

_FLUSH_SECONDS: Final = 1.0
"""After this, the buffers are flushed by hand: Windows should have done that ten times."""

_MISSING: Final = "{} was not reported, though other events came"

_STOP_SECONDS: Final = 5.0
_LATE_MILLISECONDS: Final = 900
_POLL_SECONDS: Final = 0.01
CHILD: Final = sys.executable, "-c", "input()"


class Came(NamedTuple):
    """An event, and how many ms after it happened it came."""

    event: Event
    delay: int


@dataclass
class Outcome:
    """What a session of one kind showed: *failure* is what went wrong first, *restrictions* what does no harm.

    *delay* is the longest time, in ms, from an event of ours to its arrival; *raws* are all events that came.
    Where thread starts are measured, *microseconds* is the median time that one took, *stacks* what they got.
    """

    what: str
    failure: str | None = None
    restrictions: list[str] = field(default_factory=list)
    settings: SessionSettings | None = None
    delay: int = 0
    raws: list[RawEvent] = field(default_factory=list)
    microseconds: float | None = None
    stacks: StackCounts | None = None

    def fail(self, cause: str) -> None:
        """Take what went wrong, unless something did before."""
        self.failure = self.failure or cause


class SelfTest:
    """Tests a session of the kind *config*; *log* gets a line for each step.

    *measured_starts* is how many threads of its own it starts besides, to see their stacks and what these cost.
    """

    def __init__(self, config: SessionConfig, log: Callable[[str], None], measured_starts: int = 0) -> None:
        kind = "system_logger" if config.kernel_logger else "provider_session"
        kind += "_per_processor" if config.per_processor else ""
        self.outcome = Outcome(f"{kind}_with_stacks" if config.stacks else kind)
        self._measured_starts = measured_starts
        self._wants_stacks = config.stacks
        self._tell = log
        self._queue = RecordQueue()
        self._capture = Capture(config, self._queue, "doctor")
        self._clock = MonotonicFiletime()
        self._decoder = Decoder(lambda _offset, what: self._log(f"damaged event: {what}"), images=True)
        self._came: list[Came] = []
        self._over = threading.Event()
        self._collector = threading.Thread(target=self._collect, name="doctor", daemon=True)

    def _log(self, line: str) -> None:
        self._tell(f"{self.outcome.what}: {line}")

    def run(self) -> Outcome:
        """Run the test; whatever happens, no session is left."""
        self._collector.start()
        try:
            self._capture.start()
            self._test()
        except EtwDetectError as error:
            self.outcome.fail(str(error))
        finally:
            self._capture.close()
            self._finish_collecting()
        self._log(self.outcome.failure or "passed")
        return self.outcome

    def _test(self) -> None:
        outcome, session = self.outcome, self._capture.session
        outcome.restrictions += [f"without {each}" for each in session.applied.missing]
        outcome.settings = session.settings()
        self._log(f"{session.name}, {outcome.settings}")
        me, creator = os.getpid(), (os.getpid(), threading.get_native_id())
        deadline = time.monotonic() + _LIST_SECONDS
        if not self._wait_for(lambda event: isinstance(event, ProcessRundown) and event.pid == me, deadline):
            outcome.restrictions.append("without the list of running processes, which did not come")
        # The child waits for its end of input: what it loads is seen, whatever this machine's speed.
        with subprocess.Popen(CHILD, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:  # noqa: S603
            thread = threading.Thread(target=lambda: None)
            thread.start()
            thread.join()
            tid = thread.native_id
            self._log(f"PID {child.pid} and TID {tid} were created by PID {creator[0]} TID {creator[1]}")
            pid, deadline = child.pid, time.monotonic() + (SECONDS if self._came else _SILENT_SECONDS)
            started = self._wait_for(lambda event: isinstance(event, ProcessStart) and event.pid == pid, deadline)
            threaded = self._wait_for(
                lambda event: isinstance(event, ThreadStart) and (event.pid, event.tid) == (me, tid), deadline
            )
            image = self._wait_for(lambda event: isinstance(event, ImageLoad) and event.pid == pid, deadline)
            child.kill()
        silent = not self._came
        tids = self._start_threads()
        self._stop()
        if self._wants_stacks:
            outcome.stacks = count_stacks(outcome.raws, me, tids)
            if not outcome.stacks.user:
                outcome.restrictions.append("without the user part of the call stack of any thread start")
        if silent:
            late = ", until it is stopped" if self._came else ""
            outcome.fail(f"the session runs, but no event comes, not even after a flush{late}")
        self._check(started, creator, "the start of a process")
        self._check(threaded, creator, "the start of a thread of its own")
        if image is None:
            outcome.fail(_MISSING.format("an image of a process that was started"))
        outcome.delay = max((came.delay for came in (started, threaded, image) if came), default=0)
        if outcome.delay > _LATE_MILLISECONDS:
            outcome.restrictions.append(f"late by up to {outcome.delay:,} ms")

    def _start_threads(self) -> set[int]:
        """Start the threads that are measured, one after the other; return their ids."""
        tids, times = set(), []
        for _ in range(self._measured_starts):
            thread = threading.Thread(target=lambda: None)
            began = time.perf_counter_ns()
            thread.start()
            times.append(time.perf_counter_ns() - began)
            thread.join()
            tids.add(thread.native_id or 0)
        if times:
            self.outcome.microseconds = statistics.median(times) / 1000
        return tids

    def _check(self, came: Came | None, creator: tuple[int, int], what: str) -> None:
        """Check that an event came, and that its header names its creator."""
        if came is None:
            self.outcome.fail(_MISSING.format(what))
            return
        assert isinstance(came.event, (ProcessStart, ThreadStart))
        named = came.event.creator_pid, came.event.creator_tid
        if named != creator:
            self.outcome.fail(
                f"{what} names PID {named[0]} TID {named[1]} as its creator, not PID {creator[0]} TID {creator[1]}"
            )

    def _wait_for(self, fits: Callable[[Event], bool], deadline: float) -> Came | None:
        """Return the first event that *fits*; None if it has not come by *deadline*."""
        next_flush = time.monotonic() + (_FLUSH_SECONDS if self._capture.session.auto_flush else 0)
        while True:
            found = next((came for came in self._came if fits(came.event)), None)
            now = time.monotonic()
            if found is not None or now > deadline:
                return found
            if self._capture.delivered:
                self.outcome.fail(self._capture.failure or "Windows stopped delivering the session")
                return None
            if now >= next_flush:
                next_flush = now + FLUSH_MILLISECONDS / 1000
                self._capture.session.flush()
            time.sleep(_POLL_SECONDS)

    def _collect(self) -> None:
        """Take what is delivered as it comes, on a thread of its own: what the test does delays nothing."""
        while not self._over.wait(_POLL_SECONDS):
            self._take()

    def _finish_collecting(self) -> None:
        self._over.set()
        self._collector.join()
        self._take()

    def _take(self) -> None:
        now = self._clock.now()
        raws = [*self._queue.take(), *map(raw_event, self._queue.take_images())]
        self.outcome.raws += raws
        for raw in raws:
            event = self._decoder.decode(raw)
            if event is not None:
                self._came.append(Came(event, (now - event.time) // TICKS_PER_MILLISECOND))

    def _stop(self) -> None:
        """Stop the session: its end must be an end, and its counters must be zero."""
        status = self._capture.stop()
        self._log(f"stopped, {status}")
        if status.events_lost or status.buffers_lost:
            lost = loss_text(Loss(0, status.events_lost, status.buffers_lost))
            self.outcome.restrictions.append(f"with losses: {lost} while next to nothing happened")
        deadline = time.monotonic() + _STOP_SECONDS
        while not self._capture.delivered and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        self._finish_collecting()
        if not self._capture.delivered:
            self.outcome.fail(f"ProcessTrace did not return within {_STOP_SECONDS:.0f} s of the session's stop")
        elif self._capture.failure is not None:
            self.outcome.fail(self._capture.failure)
        try:
            self._capture.session.query()
        except SessionGoneError:
            return
        self.outcome.fail("the session is still there after it was stopped")
