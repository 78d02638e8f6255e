"""Counts lost events, from all sources that report losses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from etwdetect.core.events import Loss
from etwdetect.results.wording import plural

if TYPE_CHECKING:
    from etwdetect.live.session import SessionStatus


class Losses:
    """Adds up the losses that Windows counts, those that its events report, and those of this process.

    The counts of Windows and its RT_LostEvent events report the same losses, so the larger of both is used.
    """

    def __init__(self) -> None:
        self.recorded = 0
        """The number of RT_LostEvent events."""
        self.dropped = 0
        """The events dropped because a queue was full or there was no session."""
        self._before = (0, 0)
        self._now = (0, 0)
        self._reported = (0, 0)

    def counted(self, status: SessionStatus) -> None:
        """Take the losses that Windows counted in the current session."""
        self._now = max(status.events_lost, self._now[0]), max(status.buffers_lost, self._now[1])

    def session_ended(self) -> None:
        """Take the end of the session; the next counts are those of another one."""
        self._before = self._before[0] + self._now[0], self._before[1] + self._now[1]
        self._now = (0, 0)

    def unreported(self, time: int) -> Loss | None:
        """Return the losses since the last call, as an event at the FILETIME *time*, or None without any."""
        counted = self._before[0] + self._now[0]
        buffers = self._before[1] + self._now[1]
        recorded = max(self.recorded - buffers, 0)  # they do not say whether an event or a buffer was lost
        events = max(counted, recorded) + self.dropped
        loss = Loss(time, events - self._reported[0], buffers - self._reported[1])
        if loss.events <= 0 and loss.buffers <= 0:
            return None
        self._reported = events, buffers
        return loss


def loss_text(loss: Loss) -> str:
    """Return *loss* in words."""
    return f"{plural(loss.events, 'event')} and {plural(loss.buffers, 'buffer')} lost"
