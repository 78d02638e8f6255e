"""What all sinks have in common: a bounded queue, a thread that empties it, and the counts of both."""

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
"""How many bytes they may have: names can be long."""
BATCH_BYTES: Final = 1 << 20
"""How many bytes a batch of more than one message may have."""

PATIENCE: Final = 10.0
"""How many seconds a recording's detections may wait for room in the queue."""
FAREWELL: Final = 5.0
"""How many seconds are left at the end to deliver what still waits."""

_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 30.0


class Carrier(Protocol):
    """Takes messages to the other side, on the sink's thread. It connects by itself, and again after an error."""

    name: str
    """What messages call it."""
    batch: int
    """How many messages it takes at once, at the most."""

    def message(self, detection: Detection) -> bytes:
        """Return *detection* as it is sent."""

    def send(self, messages: Sequence[bytes]) -> None:
        """Send all of *messages*; OSError where that may go better later, RefusedError where it won't.

        Takes a few seconds at the most.
        """

    def close(self) -> None:
        """Let go of the connection, if there is one; again is allowed."""


class _Queue:
    """Messages that wait, in order; at most *bound*, and BYTES_BOUND bytes of them."""

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._messages: deque[bytes] = deque()
        self._bytes = 0
        self._closed = False
        self._changed = threading.Condition()

    def put(self, message: bytes, patience: float) -> bool:
        """Append *message*, waiting *patience* seconds for room; return whether there was some."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._has_room(message), patience):
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
        """Have `take` wait no more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class Sink:
    """Delivers detections through *carrier*, in their order, each at least once.

    `given` counts them all, `sent` what was delivered, `dropped` what found the queue full, and `refused` what
    the other side did not want. *notify* is called with a sentence from the sink's own thread. If *live*, `put`
    never waits.
    """

    def __init__(self, carrier: Carrier, notify: Callable[[str], None], *, live: bool, bound: int = BOUND) -> None:
        self.name = carrier.name
        self.given = 0
        self.sent = 0
        self.dropped = 0
        self.refused = 0
        self._carrier = carrier
        self._notify = notify
        self._patience = 0.0 if live else PATIENCE
        self._waiting = _Queue(bound)
        self._failing = False
        self._closing = threading.Event()
        self._deadline = float("inf")
        # A daemon: the end of the program never waits for a dead server.
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()

    @property
    def left(self) -> int:
        """How many are not delivered yet; after `close`, never."""
        return self.given - self.sent - self.dropped - self.refused

    @property
    def complete(self) -> bool:
        """Whether everything was delivered."""
        return self.sent == self.given

    def put(self, detection: Detection) -> None:
        """Queue *detection*, or count it as dropped."""
        self.given += 1
        # Nobody is waited for who is known to be away.
        if not self._waiting.put(self._carrier.message(detection), 0.0 if self._failing else self._patience):
            self.dropped += 1

    def hurry(self) -> None:
        """Say that no more will come, and that a few seconds are left for what still waits."""
        if not self._closing.is_set():
            self._deadline = time.monotonic() + FAREWELL
            self._closing.set()
            self._waiting.close()

    def close(self) -> None:
        """Deliver what still waits, within a few seconds; then the counts are final."""
        self.hurry()
        self._thread.join(max(0.0, self._deadline - time.monotonic()) + _FIRST_PAUSE)

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
        while batch := self._waiting.take(self._carrier.batch):
            if not self._deliver(batch):
                break
        self._carrier.close()

    def _deliver(self, batch: Sequence[bytes]) -> bool:
        """Send *batch*, as often as it takes; return False where the time was over before."""
        pause = _FIRST_PAUSE
        while True:
            try:
                self._carrier.send(batch)
            except RefusedError as error:
                if not self.refused:
                    self._tell(f"refuses what it is sent: {error}")
                self.refused += len(batch)
                return True
            except OSError as error:
                self._carrier.close()
                if not self._failing:
                    self._failing = True
                    self._tell(f"{error.strerror or error}; trying again")
            else:
                self.sent += len(batch)
                if self._failing:
                    self._failing = False
                    self._tell("is back")
                return True
            if self._is_over(pause):
                return False
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _is_over(self, pause: float) -> bool:
        """Wait *pause* seconds, or less at the end; return whether no time is left."""
        if self._closing.wait(pause):
            time.sleep(min(_FIRST_PAUSE, max(0.0, self._deadline - time.monotonic())))
        return time.monotonic() >= self._deadline

    def _tell(self, what: str) -> None:
        self._notify(printable(f"{self.name}: {what}"))
