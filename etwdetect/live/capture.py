"""A session and its consumer, started and stopped together."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from etwdetect.core.errors import EtwDetectError
from etwdetect.live import ownership, sessions
from etwdetect.live.consumer import Consumer
from etwdetect.live.session import Session, SessionStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from etwdetect.live.callback import RecordQueue
    from etwdetect.live.settings import SessionConfig

DELIVERY_SECONDS: Final = 10.0
"""How long a stopped session may take to deliver the contents of its buffers."""


def stop_orphaned(notify: Callable[[str], None]) -> None:
    """Stop the sessions left by crashed runs of etwdetect; who may not list or stop them leaves them alone."""
    try:
        names = sessions.names()
    except EtwDetectError:
        return  # who may start a session may not always list those of others
    for name in ownership.orphaned(names):
        try:
            sessions.stop_by_name(name)
        except EtwDetectError as error:
            notify(str(error))
        else:
            notify(f"stopped the orphaned session {name}, left by a run that crashed")


class Capture:
    """Receives the events selected by *config* into *queue*; always `close` it."""

    def __init__(self, config: SessionConfig, queue: RecordQueue, purpose: str = "monitor") -> None:
        self.session = Session(ownership.new_name(purpose), config)
        self.rundown = config.kernel_logger
        """Whether Windows was asked to list the running processes, as a system logger does by itself."""
        self._purpose = purpose
        self._started = False
        self._queue = queue
        self._consumer: Consumer | None = None

    def start(self) -> None:
        """Start the session and receive its events; if that fails, no session is left.

        Each further start is that of a new session. Raises LiveError, NotElevatedError or SystemCallError.
        """
        if self._started:
            self.session = Session(ownership.new_name(self._purpose), self.session.config)
        self._started = True
        self.session.start()
        try:
            self._consumer = Consumer(self.session.name, self._queue)
            if not self.session.config.kernel_logger:
                self.rundown = self.session.capture_state()
            self._consumer.start()
        except EtwDetectError:
            self.close()
            raise

    @property
    def delivered(self) -> bool:
        """Whether delivery has ended: the session was stopped, and all its events were received."""
        return self._consumer is None or self._consumer.ended

    @property
    def failure(self) -> str | None:
        """Why Windows stopped delivering, if that was not because the session was stopped."""
        return None if self._consumer is None else self._consumer.failure

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
