"""What all sinks share: a thread that sends what waits, and counts."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final, Protocol

from etwdetect.results.sinks.backlog import Queue
from etwdetect.results.sinks.errors import LaterError, RefusedError, TooMuchError
from etwdetect.results.status import StatusKind
from etwdetect.results.wording import plural, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from etwdetect.enrich.detection import Detection
    from etwdetect.results.sinks.backlog import Backlog
    from etwdetect.results.status import StatusRecord

LIVE_WAIT: Final = 5.0
"""How many seconds a live session has at its end to deliver what still waits."""

_FIRST_RETRY: Final = 0.5
_LONGEST_RETRY: Final = 30.0
_LONGEST_LATER: Final = 600.0
"""How many seconds a receiver can ask to be left alone."""


class Transport(Protocol):
    """Sends messages to a receiver, on the sink's thread. It connects when needed, and again after an error."""

    name: str
    """Its name in messages to the user."""
    batch: int
    """How many messages it sends at once at most."""
    sent_again: int = 0
    """How many messages it sent another time, because they may have been lost with a connection."""

    @property
    def doubtful(self) -> int:
        """How many messages it sent that may be lost all the same."""
        return 0

    def message(self, detection: Detection) -> bytes:
        """Return *detection* as the bytes to send."""

    def status(self, record: StatusRecord) -> bytes:
        """Return *record* as the bytes to send."""

    def send(self, messages: Sequence[bytes]) -> None:
        """Send all of *messages*.

        Raises RefusedError where a retry can't help, TooMuchError where fewer at once may, and any other OSError
        where a retry may help.
        """

    @property
    def uncertain(self) -> int:
        """How many of the messages sent last would be sent again if the connection ended."""
        return 0

    def finish(self) -> None:
        """Wait until the receiver has read everything, where it can be known; OSError where it has not."""
        return

    def close(self) -> None:
        """Close the connection, if there is one; may be called again."""


class Sink:
    """Delivers what is in *backlog*, a queue unless given, through *transport*: in order, each at least once.

    `sent` counts what was delivered, `refused` what the receiver rejected. *notify* is called with a sentence from
    the sink's own thread. `put` and `close` wait for a receiver for *wait* seconds after the last delivery;
    without it (a live session) `put` never waits, and `close` for LIVE_WAIT at most.
    """

    def __init__(
        self,
        transport: Transport,
        notify: Callable[[str], None],
        *,
        wait: float | None,
        backlog: Backlog | None = None,
    ) -> None:
        self.name = transport.name
        self.sent = 0
        self.refused = 0
        self._transport = transport
        self._notify = notify
        self._wait = wait
        self._backlog = backlog or Queue(transport.message)
        self._told = 0
        """How many status records there were."""
        self._failing = False
        self._closing = threading.Event()
        self._since = time.monotonic()
        """When the last message was delivered, or the first one came that waits."""
        # A daemon thread, so that the program can end while a server hangs.
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()

    @property
    def given(self) -> int:
        """How many messages there were."""
        return self._backlog.given

    @property
    def dropped(self) -> int:
        """How many messages there was no room for."""
        return self._backlog.dropped

    @property
    def left(self) -> int:
        """How many are not delivered yet; after `close`, they will not be, or by the next run."""
        return self.given - self.sent - self.dropped - self.refused - self._backlog.unreadable

    @property
    def complete(self) -> bool:
        """Whether everything was delivered."""
        return self.sent == self.given and not self._transport.doubtful

    def put(self, detection: Detection) -> None:
        """Queue *detection*, or count it as dropped."""
        if not self.left:
            self._since = time.monotonic()
        while not self._backlog.put(detection, 0.0 if self._wait is None else self._patience()):
            if self._wait is None or not self._patience():
                self._backlog.drop()
                return

    def tell(self, record: StatusRecord) -> None:
        """Queue *record*, or count it as dropped; a heartbeat only while the receiver is there."""
        if not (record.kind is StatusKind.HEARTBEAT and self._failing):
            self._told += 1
            self._backlog.put_message(self._transport.status(record))

    def begin_close(self) -> None:
        """Take no more detections; what waits is still delivered."""
        if not self._closing.is_set():
            self._since = time.monotonic()
            self._closing.set()
            self._backlog.close()

    def close(self) -> None:
        """Wait for what can still be delivered; then the counts are final."""
        self.begin_close()
        while self._thread.is_alive() and self._patience():
            self._thread.join(self._patience())
        self._backlog.finish()

    def closing(self) -> str:
        """Return the line that says how much was delivered."""
        keeps = self._backlog.keeps
        counts = {
            "sent again": self._transport.sent_again,
            "rotated away unsent" if keeps else "found the queue full": self.dropped,
            "no records": self._backlog.unreadable,
            "refused": self.refused,
            f"left in {keeps} for the next run" if keeps else "not sent by the end": self.left,
            "possibly lost with a connection": self._transport.doubtful,
        }
        details = [f"{count:,} {what}" for what, count in counts.items() if count]
        sent = f"{self.sent:,} of {self.given:,} sent"
        if self._told:
            sent += f", with {plural(self._told, 'status record')}"
        return printable(f"{self.name}: {'; '.join([sent, *details])}")

    def _patience(self) -> float:
        """How many seconds are left to wait for the receiver."""
        return max(0.0, self._since + (LIVE_WAIT if self._wait is None else self._wait) - time.monotonic())

    def _run(self) -> None:
        while batch := self._backlog.take(self._transport.batch):
            if not self._deliver(batch):
                break
        else:
            if self._retried(self._transport.finish):
                self._backlog.settle(0, self._transport.uncertain)
        self._transport.close()

    def _deliver(self, batch: Sequence[bytes]) -> bool:
        """Send *batch* with retries; return False where the time for closing ended before."""
        try:
            if not self._retried(lambda: self._transport.send(batch)):
                return False
        except TooMuchError:
            middle = len(batch) // 2
            return self._deliver(batch[:middle]) and self._deliver(batch[middle:])
        except RefusedError as error:
            if not self.refused:
                self._notify_user(f"refuses what it is sent: {error}")
            self.refused += len(batch)
        else:
            self.sent += len(batch)
        self._backlog.settle(len(batch), self._transport.uncertain)
        if self._wait is not None or not self._closing.is_set():
            self._since = time.monotonic()
        return True

    def _retried(self, action: Callable[[], None]) -> bool:
        """Call *action* until it does not fail; return False where the time for closing ended before."""
        pause = _FIRST_RETRY
        while True:
            try:
                action()
            except LaterError as error:
                self._fail(error)
                least = min(error.seconds, _LONGEST_LATER)
            except OSError as error:
                self._transport.close()
                self._fail(error)
                least = _FIRST_RETRY
            else:
                if self._failing:
                    self._failing = False
                    self._notify_user("is back")
                return True
            if self._is_over(max(pause, least), least):
                return False
            pause = min(2 * pause, _LONGEST_RETRY)

    def _fail(self, error: OSError) -> None:
        if not self._failing:
            self._failing = True
            self._notify_user(f"{error.strerror or error}; trying again")

    def _is_over(self, pause: float, least: float) -> bool:
        """Wait *pause* seconds, or *least* while closing; return whether no time is left."""
        if self._closing.wait(pause):
            time.sleep(min(least, self._patience()))
        return self._closing.is_set() and not self._patience()

    def _notify_user(self, what: str) -> None:
        self._notify(printable(f"{self.name}: {what}"))
