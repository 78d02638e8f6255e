"""Sorts events that arrive slightly out of order, within a window of fixed width."""

from __future__ import annotations

from collections import deque
from operator import itemgetter
from typing import TYPE_CHECKING

from etwdetect.core.order import order_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from etwdetect.core.events import Event

_Key = tuple[int, int]
_key = itemgetter(0)


class ReorderWindow:
    """Holds each event for *width* seconds and releases all in the order of `order_of`.

    The order is that of a sorted recording for every event that arrives at most *width* seconds after an event
    that belongs behind it. Events that arrive later are released at once, out of order, and counted in `misses`.
    """

    def __init__(self, width: float) -> None:
        self.width = width
        self.misses = 0
        self._held: list[tuple[_Key, Event]] = []
        self._arrivals: deque[tuple[float, _Key]] = deque()
        """The arrival time and the last key of each batch of events."""
        self._released: _Key = (0, 0)

    def __len__(self) -> int:
        """Return the number of events held."""
        return len(self._held)

    def add(self, events: Iterable[Event], now: float) -> None:
        """Take the events that arrived at *now*, in seconds of a monotonic clock."""
        batch = [(order_of(event), event) for event in events]
        if not batch:
            return
        batch.sort(key=_key)
        if batch[0][0] < self._released:
            self.misses += sum(key < self._released for key, _ in batch)
        in_order = not self._held or self._held[-1][0] <= batch[0][0]
        self._held += batch
        if not in_order:
            self._held.sort(key=_key)
        self._arrivals.append((now, batch[-1][0]))

    def release(self, now: float | None = None) -> Iterator[Event]:
        """Yield the events held long enough at *now* (None: all), in order."""
        while self._arrivals and (now is None or self._arrivals[0][0] + self.width <= now):
            self._released = max(self._released, self._arrivals.popleft()[1])
        count = 0
        for key, _ in self._held:
            if key > self._released:
                break
            count += 1
        ready = self._held[:count]
        del self._held[:count]
        for _, event in ready:
            yield event
