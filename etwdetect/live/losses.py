"""How many events are missing, from all who know of some."""

from __future__ import annotations

from typing import TYPE_CHECKING

from etwdetect.core.events import Loss

if TYPE_CHECKING:
    from etwdetect.live.session import State


class Losses:
    """Adds up what Windows counts in each session, what its events say, and what was lost here.

    Windows' counts and its RT_LostEvent events tell of the same losses, so the larger of both is taken.
    """

    def __init__(self) -> None:
        self.recorded = 0
        """The events that say that another one was lost."""
        self.dropped = 0
        """The events for which there was no room, or no session."""
        self._before = (0, 0)
        self._now = (0, 0)
        self._told = (0, 0)

    def counted(self, state: State) -> None:
        """Take what Windows says of the session of now."""
        self._now = max(state.events_lost, self._now[0]), max(state.buffers_lost, self._now[1])

    def session_ended(self) -> None:
        """Take that the next counts are those of another session."""
        self._before = self._before[0] + self._now[0], self._before[1] + self._now[1]
        self._now = (0, 0)

    def untold(self, time: int) -> Loss | None:
        """Return what was lost since this was last asked, as an event of the FILETIME *time*."""
        counted = self._before[0] + self._now[0]
        buffers = self._before[1] + self._now[1]
        recorded = max(self.recorded - buffers, 0)  # they do not tell whether an event was lost, or a buffer
        events = max(counted, recorded) + self.dropped
        loss = Loss(time, events - self._told[0], buffers - self._told[1])
        if loss.events <= 0 and loss.buffers <= 0:
            return None
        self._told = events, buffers
        return loss
