"""Recording into a file: a session of our own, which Windows writes by itself."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from etwdetect.live import ownership
from etwdetect.live.capture import clear_leaked
from etwdetect.live.errors import LiveError
from etwdetect.live.session import Plan, Session, State

if TYPE_CHECKING:
    from collections.abc import Callable

_LOOK_SECONDS: Final = 0.1
_HEALTH_SECONDS: Final = 1.0


class Recorded(NamedTuple):
    """How a recording ended: how long it took, what was lost, and whether somebody else ended it."""

    seconds: float
    events_lost: int
    buffers_lost: int
    cut_short: str | None


def record(
    plan: Plan, stop: Callable[[], bool], notify: Callable[[str], None], duration: float | None
) -> Recorded:
    """Record what *plan* says until *stop* says so or *duration* seconds are over.

    Raises LiveError where the session can't be had; then no file is left.
    """
    clear_leaked(notify)
    session = Session(ownership.name_of(ownership.ourselves("record")), plan)
    session.start()
    began = time.monotonic()
    state: State | None = None
    cut_short: str | None = None
    try:
        if not plan.kernel_logger:
            session.capture_state()
        next_look = began + _HEALTH_SECONDS
        while not stop() and (duration is None or time.monotonic() - began < duration) and cut_short is None:
            time.sleep(_LOOK_SECONDS)
            if time.monotonic() >= next_look:
                next_look += _HEALTH_SECONDS
                state, cut_short = _look_at(session, state)
        with contextlib.suppress(LiveError):
            state = session.stop()
    finally:
        with contextlib.suppress(LiveError):
            session.stop()
    lost = state or State(0, 0, 0, 0)
    return Recorded(time.monotonic() - began, lost.events_lost, lost.buffers_lost, cut_short)


def _look_at(session: Session, before: State | None) -> tuple[State | None, str | None]:
    try:
        state = session.query()
        healthy = session.listens(state)
    except LiveError as error:
        return before, str(error)
    return state, None if healthy else f"the provider was disabled in the session {session.name} from outside"
