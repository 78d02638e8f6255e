"""A session and its consumer, started and stopped together."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from etwdetect.core.errors import EtwDetectError
from etwdetect.live import ownership, session
from etwdetect.live.consumer import Consumer
from etwdetect.live.session import Session, SessionConfig, SessionStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from etwdetect.live.callback import RecordQueue

DELIVERY_SECONDS: Final = 10.0
"""How long a stopped session may take to deliver the contents of its buffers."""


def stop_orphaned(notify: Callable[[str], None]) -> None:
    """Stop the sessions left by crashed runs of etwdetect. Raises NotElevatedError or SystemCallError."""
    for name in ownership.orphaned(session.names()):
        session.stop_by_name(name)
        notify(f"stopped the orphaned session {name}, left by a run that crashed")


class Capture:
    """Receives the events selected by *config* into *queue*; always `close` it."""

    def __init__(self, config: SessionConfig, queue: RecordQueue) -> None:
        self.session = Session(ownership.name_of(ownership.this_process("monitor")), config)
        self._queue = queue
        self._consumer: Consumer | None = None

    def start(self) -> None:
        """Start the session and receive its events; if that fails, no session is left.

        Raises LiveError, NotElevatedError or SystemCallError.
        """
        self.session.start()
        try:
            self._consumer = Consumer(self.session.name, self._queue)
        except EtwDetectError:
            self.close()
            raise

    @property
    def delivered(self) -> bool:
        """Whether delivery has ended: the session was stopped, and all its events were received."""
        return self._consumer is None or self._consumer.ended

    def stop(self) -> SessionStatus:
        """Stop the session; its remaining events are then delivered. Raises SessionGoneError."""
        return self.session.stop()

    def close(self) -> None:
        """Stop the session and the consumer if they still run."""
        with contextlib.suppress(EtwDetectError):
            self.session.stop()
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            consumer.close()
