"""Sorts the events of a trace by time, without duplicate thread starts."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from etwdetect.core.events import ThreadStart
from etwdetect.core.order import EventSorter, order_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etwdetect.core.events import Event


class Sorters:
    """Sorts the events of all providers, with the thread starts of each provider apart.

    A recording may hold both the NT Kernel Logger and Microsoft-Windows-Kernel-Process. The rule would take the
    duplicate of a first thread for a remote thread, so only the thread starts of one provider are used: of the one
    that has more. Duplicate process events change nothing.
    """

    def __init__(self) -> None:
        self.images = EventSorter()
        self._others = EventSorter()
        self._thread_starts: dict[bytes, EventSorter] = {}

    def of(self, event: Event, provider: bytes) -> EventSorter:
        """Return the sorter for *event*, which *provider* logged."""
        if not isinstance(event, ThreadStart):
            return self._others
        if provider not in self._thread_starts:
            self._thread_starts[provider] = EventSorter()
        return self._thread_starts[provider]

    @property
    def thread_providers(self) -> frozenset[bytes]:
        """The GUIDs of the providers that logged thread starts; those in files of events have none."""
        return frozenset(filter(None, self._thread_starts))

    @property
    def _chosen(self) -> EventSorter:
        return max(self._thread_starts.values(), key=len, default=EventSorter())

    @property
    def duplicate_thread_starts(self) -> int:
        """How many thread starts are left out because another provider logged more."""
        return sum(map(len, self._thread_starts.values())) - len(self._chosen)

    def in_order(self) -> Iterator[Event]:
        """Yield the events in time order; once only."""
        images = [self.images] if self.images else []
        return heapq.merge(self._others, self._chosen, *images, key=order_of)
