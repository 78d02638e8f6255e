"""What all sinks share: a bounded queue, a thread that empties it, and counts."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from etwdetect.results.sinks.errors import RefusedError
from etwdetect.results.wording import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from etwdetect.enrich.detection import Detection

BOUND: Final = 10_000
"""How many messages may wait."""
BYTES_BOUND: Final = 64 << 20
"""How many bytes they may have together."""
BATCH_BYTES: Final = 1 << 20
"""How many bytes a batch of more than one message may have."""

PUT_TIMEOUT: Final = 10.0
"""How many seconds `put` waits for room in the queue, for detections of a recording."""
CLOSE_TIMEOUT: Final = 5.0
"""How many seconds there are at the end to deliver what still waits."""

_FIRST_RETRY: Final = 0.5
_LONGEST_RETRY: Final = 30.0


class Transport(Protocol):
    """Sends messages to a receiver, on the sink's thread. It connects when needed, and again after an error."""

    name: str
    """Its name in messages to the user."""
    batch: int
    """How many messages it sends at once at most."""

    def message(self, detection: Detection) -> bytes:
        """Return *detection* as the bytes to send."""

    def send(self, messages: Sequence[bytes]) -> None:
        """Send all of *messages*; OSError where a retry may help, RefusedError where it can't.

        Takes a few seconds at most.
        """

    def close(self) -> None:
        """Close the connection, if there is one; may be called again."""


class _Queue:
    """Messages that wait, in order; at most *bound*, and BYTES_BOUND bytes of them."""

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._messages: deque[bytes] = deque()
        self._bytes = 0
        self._closed = False
        self._changed = threading.Condition()

    def put(self, message: bytes, timeout: float) -> bool:
        """Append *message*, waiting *timeout* seconds for room; return whether there was some."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._has_room(message), timeout):
                return False
            self._messages.append(message)
            self._bytes += len(message)
            self._changed.notify_all()
        return True

    def _has_room(self, message: bytes) -> bool:
        few = len(self._messages) < self._bound and self._bytes + len(message) <= BYTES_BOUND
        return few or not self._messages

    def take(self, most: int) -> list[bytes]:
        """Wait for messages and remove up to *most*; none when the queue is closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._messages or self._closed)
            batch: list[bytes] = []
            size = 0
            while self._messages and len(batch) < most:
                size += len(self._messages[0])
                if batch and size > BATCH_BYTES:
                    break
                batch.append(self._messages.popleft())
                self._bytes -= len(batch[-1])
            self._changed.notify_all()
        return batch

    def close(self) -> None:
        """End the waiting in `take`."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class Sink:
    """Delivers detections through *transport*, in their order, each at least once.

    `given` counts them all, `sent` those delivered, `dropped` those that found the queue full, `refused` those
    that the receiver rejected. *notify* is called with a sentence from the sink's own thread. If *live*, `put`
    never waits.
    """

    def __init__(
        self, transport: Transport, notify: Callable[[str], None], *, live: bool, bound: int = BOUND
    ) -> None:
        self.name = transport.name
        self.given = 0
        self.sent = 0
        self.dropped = 0
        self.refused = 0
        self._transport = transport
        self._notify = notify
        self._timeout = 0.0 if live else PUT_TIMEOUT
        self._waiting = _Queue(bound)
        self._failing = False
        self._closing = threading.Event()
        self._deadline = float("inf")
        # A daemon thread, so that the program can end while a server hangs.
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()

    @property
    def left(self) -> int:
        """How many are not delivered yet; after `close`, they will not be."""
        return self.given - self.sent - self.dropped - self.refused

    @property
    def complete(self) -> bool:
        """Whether everything was delivered."""
        return self.sent == self.given

    def put(self, detection: Detection) -> None:
        """Queue *detection*, or count it as dropped."""
        self.given += 1
        # Don't block on a failing peer.
        if not self._waiting.put(self._transport.message(detection), 0.0 if self._failing else self._timeout):
            self.dropped += 1

    def begin_close(self) -> None:
        """Take no more detections, and give those that wait CLOSE_TIMEOUT."""
        if not self._closing.is_set():
            self._deadline = time.monotonic() + CLOSE_TIMEOUT
            self._closing.set()
            self._waiting.close()

    def close(self) -> None:
        """Wait for what can still be delivered, CLOSE_TIMEOUT at most; then the counts are final."""
        self.begin_close()
        self._thread.join(max(0.0, self._deadline - time.monotonic()) + _FIRST_RETRY)

    def closing(self) -> str:
        """Return the line that says how much was delivered."""
        why = {
            "found the queue full": self.dropped,
            "refused": self.refused,
            "not sent by the end": self.left,
        }
        missing = [f"{count:,} {reason}" for reason, count in why.items() if count]
        sent = f"{self.sent:,} of {self.given:,} sent"
        return printable(f"{self.name}: {'; '.join([sent, *missing])}")

    def _run(self) -> None:
        while batch := self._waiting.take(self._transport.batch):
            if not self._deliver(batch):
                break
        self._transport.close()

    def _deliver(self, batch: Sequence[bytes]) -> bool:
        """Send *batch* with retries; return False where the time for closing ended before."""
        pause = _FIRST_RETRY
        while True:
            try:
                self._transport.send(batch)
            except RefusedError as error:
                if not self.refused:
                    self._notify_user(f"refuses what it is sent: {error}")
                self.refused += len(batch)
                return True
            except OSError as error:
                self._transport.close()
                if not self._failing:
                    self._failing = True
                    self._notify_user(f"{error.strerror or error}; trying again")
            else:
                self.sent += len(batch)
                if self._failing:
                    self._failing = False
                    self._notify_user("is back")
                return True
            if self._is_over(pause):
                return False
            pause = min(2 * pause, _LONGEST_RETRY)

    def _is_over(self, pause: float) -> bool:
        """Wait *pause* seconds, or less while closing; return whether no time is left."""
        if self._closing.wait(pause):
            time.sleep(min(_FIRST_RETRY, max(0.0, self._deadline - time.monotonic())))
        return time.monotonic() >= self._deadline

    def _notify_user(self, what: str) -> None:
        self._notify(printable(f"{self.name}: {what}"))
