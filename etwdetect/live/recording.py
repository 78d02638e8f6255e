"""Records a session into a file, which Windows writes."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from etwdetect.core.errors import EtwDetectError
from etwdetect.live import ownership
from etwdetect.live.capture import stop_orphaned
from etwdetect.live.session import Session, SessionStatus
from etwdetect.live.sessions import NAME_LENGTH
from etwdetect.windows.volumes import USUAL_LONGEST_PATH, takes_long_paths

if TYPE_CHECKING:
    from collections.abc import Callable

    from etwdetect.live.settings import SessionConfig

_POLL_SECONDS: Final = 0.1
_HEALTH_SECONDS: Final = 1.0


class RecordingResult(NamedTuple):
    """The result of a recording: its duration, its losses, and why it ended early, if it did."""

    seconds: float
    events_lost: int
    buffers_lost: int
    cut_short: str | None


def longest_path() -> int:
    """Return the most UTF-16 code units that the path of a recording may have on this Windows."""
    return NAME_LENGTH - 1 if takes_long_paths() else USUAL_LONGEST_PATH


def record(
    config: SessionConfig, stop: Callable[[], bool], notify: Callable[[str], None], duration: float | None
) -> RecordingResult:
    """Record what *config* selects until *stop* returns True or *duration* seconds are over.

    Raises LiveError, NotElevatedError or SystemCallError if the session cannot be started; then no file is left.
    """
    stop_orphaned(notify)
    session = Session(ownership.new_name("record"), config)
    session.start()
    for missing in session.applied.missing:
        notify(f"the session is without {missing}")
    began = time.monotonic()
    status: SessionStatus | None = None
    cut_short: str | None = None
    try:
        if not config.kernel_logger:
            session.capture_state()
        next_check = began + _HEALTH_SECONDS
        while not stop() and (duration is None or time.monotonic() - began < duration) and cut_short is None:
            time.sleep(_POLL_SECONDS)
            if time.monotonic() >= next_check:
                next_check += _HEALTH_SECONDS
                status, cut_short = _check(session, status)
        with contextlib.suppress(EtwDetectError):
            status = session.stop()
    finally:
        with contextlib.suppress(EtwDetectError):
            session.stop()
    lost = status or SessionStatus(0, 0, 0, 0)
    return RecordingResult(time.monotonic() - began, lost.events_lost, lost.buffers_lost, cut_short)


def _check(session: Session, before: SessionStatus | None) -> tuple[SessionStatus | None, str | None]:
    try:
        status = session.query()
        healthy = session.is_enabled(status)
    except EtwDetectError as error:
        return before, str(error)
    if healthy:
        return status, None
    return status, f"the provider was disabled in the session {session.name} by another program"
