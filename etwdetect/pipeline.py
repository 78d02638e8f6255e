"""The rule and the enrichment over one series of events: the loop that offline, live and fleet share.

Every event, in time order, takes the same steps: `observe` shows it to the enrichment and to the rule, and hands
a remote thread to the enrichment; `take` yields each detection once its grace period is over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from etwdetect.core.events import ThreadStart

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from etwdetect.core.events import Event
    from etwdetect.core.rule import RemoteThread, RemoteThreadRule
    from etwdetect.enrich.detection import Detection
    from etwdetect.enrich.enricher import Enricher


class Pipeline:
    """Gives events to *rule* and *enricher* in the one order that both rely on.

    *look_around*, where given, is called with each remote thread before the enricher takes it. That is the moment
    to give the enricher events that were deferred until a remote thread needs them: image events, answers of the
    system.
    """

    def __init__(
        self,
        rule: RemoteThreadRule,
        enricher: Enricher,
        look_around: Callable[[RemoteThread], object] | None = None,
    ) -> None:
        self.rule = rule
        self._enricher = enricher
        self._look_around = look_around
        self._show = enricher.observe
        self._judge = rule.observe

    def observe(self, event: Event) -> RemoteThread | None:
        """Take the next event in time order; return the remote thread that it is, None for any other event."""
        # The enricher comes first: at a remote thread it must know every event up to it.
        self._show(event)
        hit = self._judge(event)
        if hit is not None:
            if self._look_around is not None:
                self._look_around(hit)
            self._enricher.add(hit, event.container if isinstance(event, ThreadStart) else None)
        return hit

    def take(self, now: int | None = None) -> Iterator[Detection]:
        """Yield the detections whose grace period is over at the FILETIME *now*, or all that are left.

        They come in the order of their events. Events after *now* must not have been observed yet.
        """
        return self._enricher.take(now)
