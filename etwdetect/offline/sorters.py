"""The events of a trace in order of time, with each thread start told once."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from etwdetect.core.events import ThreadStart
from etwdetect.core.order import EventSorter, order_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etwdetect.core.events import Event


class Sorters:
    """Sorts the events of all providers, and keeps the thread starts of each apart.

    A recording may hold both the NT Kernel Logger and Microsoft-Windows-Kernel-Process. To the rule the second
    telling of a first thread would be a remote one, so the thread starts of one provider alone are taken: of
    the one that has more. Processes may be told of twice, which changes nothing.
    """

    def __init__(self) -> None:
        self.images = EventSorter()
        self._others = EventSorter()
        self._thread_starts: dict[bytes, EventSorter] = {}

    def of(self, event: Event, provider: bytes) -> EventSorter:
        """Return the sorter that *event* belongs in."""
        if not isinstance(event, ThreadStart):
            return self._others
        if provider not in self._thread_starts:
            self._thread_starts[provider] = EventSorter()
        return self._thread_starts[provider]

    @property
    def thread_providers(self) -> frozenset[bytes]:
        """The providers that tell of thread starts."""
        return frozenset(self._thread_starts)

    @property
    def _chosen(self) -> EventSorter:
        return max(self._thread_starts.values(), key=len, default=EventSorter())

    @property
    def told_twice(self) -> int:
        """How many thread starts are left out."""
        return sum(map(len, self._thread_starts.values())) - len(self._chosen)

    def in_order(self) -> Iterator[Event]:
        """Yield the events in order; once only."""
        images = [self.images] if self.images else []
        return heapq.merge(self._others, self._chosen, *images, key=order_of)
