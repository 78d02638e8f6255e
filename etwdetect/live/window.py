"""Puts events that come a little late back into order of time, and keeps none longer than that."""

from __future__ import annotations

from collections import deque
from operator import itemgetter
from typing import TYPE_CHECKING

from etwdetect.core.order import order_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from etwdetect.core.events import Event

_Key = tuple[int, int]


class ReorderWindow:
    """Holds each event for *width* seconds, and gives all back in `order_of`.

    The order is that of a sorted recording for every event that comes at most *width* seconds after one that
    belongs behind it. Later ones are given back at once, out of order, and counted in `misses`.
    """

    def __init__(self, width: float) -> None:
        self.width = width
        self.misses = 0
        self._held: list[tuple[_Key, Event]] = []
        self._came: deque[tuple[float, _Key]] = deque()
        """When each batch of events came, and the last key of its events."""
        self._released: _Key = (0, 0)

    def __len__(self) -> int:
        """How many events are held."""
        return len(self._held)

    def add(self, events: Iterable[Event], now: float) -> None:
        """Take the events that came at *now*, in seconds of a clock that never goes back."""
        batch = [(order_of(event), event) for event in events]
        if not batch:
            return
        self.misses += sum(key < self._released for key, _ in batch)
        self._held += batch
        self._held.sort(key=itemgetter(0))
        self._came.append((now, max(key for key, _ in batch)))

    def release(self, now: float | None = None) -> Iterator[Event]:
        """Yield what was held long enough by *now*, or all that is left, in order."""
        while self._came and (now is None or self._came[0][0] + self.width <= now):
            self._released = max(self._released, self._came.popleft()[1])
        count = 0
        for key, _ in self._held:
            if key > self._released:
                break
            count += 1
        ready = self._held[:count]
        del self._held[:count]
        for _, event in ready:
            yield event
