"""What waits for a receiver: a queue in memory. `etwdetect.results.sinks.spool` has the one on disk."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from etwdetect.enrich.detection import Detection

BOUND: Final = 10_000
"""How many messages may wait in memory."""
BYTES_BOUND: Final = 64 << 20
"""How many bytes they may have together."""
BATCH_BYTES: Final = 1 << 20
"""How many bytes a batch of more than one message may have."""


class Backlog(Protocol):
    """Messages that wait for a receiver, in order: one thread puts, another takes."""

    @property
    def given(self) -> int:
        """How many messages there were."""

    @property
    def dropped(self) -> int:
        """How many of them were dropped, for want of room."""

    @property
    def unreadable(self) -> int:
        """How many of them are no records."""
        return 0

    @property
    def keeps(self) -> str:
        """The name of the file in which the next run finds what is left; empty where there is none."""
        return ""

    def put(self, detection: Detection, timeout: float) -> bool:
        """Append *detection*, waiting *timeout* seconds for room; return whether there was some."""

    def drop(self) -> None:
        """Count a detection that found no room."""
        return

    def put_message(self, message: bytes) -> None:
        """Append *message*, or drop it for want of room."""

    def take(self, most: int) -> list[bytes]:
        """Wait for messages and return the next ones, up to *most*; none when it is closed and empty."""

    def settle(self, delivered: int, uncertain: int) -> None:  # noqa: ARG002 (not for what is in memory)
        """Take note that *delivered* more were sent; the last *uncertain* may have to be sent again."""
        return

    def close(self) -> None:
        """End the waiting in `take`."""

    def finish(self) -> None:
        """Take note that nothing more will be sent."""
        return


class Queue(Backlog):
    """Messages that wait in memory, made by *message*; at most *bound*, and BYTES_BOUND bytes of them."""

    given = 0
    dropped = 0

    def __init__(self, message: Callable[[Detection], bytes], bound: int = BOUND) -> None:
        self._message = message
        self._bound = bound
        self._messages: deque[bytes] = deque()
        self._bytes = 0
        self._closed = False
        self._changed = threading.Condition()

    def put(self, detection: Detection, timeout: float) -> bool:
        """Append *detection*, waiting *timeout* seconds for room; return whether there was some."""
        return self._append(self._message(detection), timeout)

    def put_message(self, message: bytes) -> None:
        """Append *message*, or drop it for want of room."""
        if not self._append(message, 0.0):
            self.drop()

    def _append(self, message: bytes, timeout: float) -> bool:
        with self._changed:
            if not self._changed.wait_for(lambda: self._has_room(message), timeout):
                return False
            self.given += 1
            self._messages.append(message)
            self._bytes += len(message)
            self._changed.notify_all()
        return True

    def drop(self) -> None:
        """Count a message that found no room."""
        self.given += 1
        self.dropped += 1

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
