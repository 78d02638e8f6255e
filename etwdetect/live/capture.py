"""A session and its consumer, together from the start to the stop."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from etwdetect.live import ownership, session
from etwdetect.live.consumer import Consumer
from etwdetect.live.errors import LiveError
from etwdetect.live.session import Plan, Session, State

if TYPE_CHECKING:
    from collections.abc import Callable

    from etwdetect.live.callback import Intake

DELIVERY_SECONDS: Final = 10.0
"""How long a stopped session may take to deliver what its buffers held."""


def clear_leaked(notify: Callable[[str], None]) -> None:
    """Stop the sessions that crashed runs of ours left behind, and no others. Raises LiveError."""
    for name in ownership.leaked(session.names()):
        session.stop_by_name(name)
        notify(f"stopped the session {name}, which a run that did not end properly had left behind")


class Capture:
    """Receives the events that *plan* is for into *intake*; `close` it in any case."""

    def __init__(self, plan: Plan, intake: Intake) -> None:
        self.session = Session(ownership.name_of(ownership.ourselves("monitor")), plan)
        self._intake = intake
        self._consumer: Consumer | None = None

    def start(self) -> None:
        """Start the session and receive its events; when that fails, nothing stays behind. Raises LiveError."""
        self.session.start()
        try:
            self._consumer = Consumer(self.session.name, self._intake)
        except LiveError:
            self.close()
            raise

    @property
    def delivered(self) -> bool:
        """Whether Windows delivers no more: the session has stopped, and all of it came."""
        return self._consumer is None or self._consumer.ended

    def stop(self) -> State:
        """Stop the session; the rest of it is delivered from now on. Raises SessionGoneError."""
        return self.session.stop()

    def close(self) -> None:
        """End what is left of both."""
        with contextlib.suppress(LiveError):
            self.session.stop()
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            consumer.close()
