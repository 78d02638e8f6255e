"""A recorded trace through all rooms: decoding, order, the rule, and what is known around each remote thread."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Final

from etwdetect.core.events import Loss, MachineName, ThreadStop, VolumeMapping
from etwdetect.core.raw import IMAGE, KERNEL_PROCESS, LOST_EVENTS
from etwdetect.core.rule import DEFAULT_BOUND, RemoteThreadRule
from etwdetect.enrich.enricher import Enricher
from etwdetect.offline.deferred_images import ImageLog
from etwdetect.offline.image_replay import ImageFeed
from etwdetect.offline.sorters import Sorters
from etwdetect.sources.decode import Decoder, classic_opcodes, image_kind
from etwdetect.sources.etl.reader import Trace
from etwdetect.sources.etl.records import hook_ids
from etwdetect.sources.etl.walk import Wanted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from etwdetect.core.events import Event
    from etwdetect.core.order import EventSorter
    from etwdetect.enrich.detection import Detection
    from etwdetect.enrich.imagefiles import ImageFiles
    from etwdetect.enrich.kinds import Kinds
    from etwdetect.sources.eventdata.trace import RecordedTrace

_PROGRESS_EVERY: Final = 1024
"""How many events of interest pass between two calls of *progress*."""


def _wanted() -> Wanted:
    """Return what to find in a trace: all that `Decoder` knows, the kernel's records of images to be put aside."""
    opcodes = classic_opcodes(images=True)
    hooks = [hook for provider in opcodes if provider != IMAGE for hook in hook_ids(provider, opcodes[provider])]
    return Wanted(hooks, (KERNEL_PROCESS, LOST_EVENTS, *opcodes), hook_ids(IMAGE, opcodes[IMAGE]))


class Scan:
    """One trace, or consecutive files of one session, through decoding, time order, rule and names.

    *bound* is that of the new-process table. *progress*, where given, is called now and then with the number of
    bytes read so far of the file at hand. *files* are the image files to find start functions in, *kinds* the
    rules for kinds. The counts are complete when `detections` has ended.
    """

    def __init__(
        self,
        traces: Sequence[Trace | RecordedTrace],
        bound: int = DEFAULT_BOUND,
        progress: Callable[[int], None] | None = None,
        *,
        files: ImageFiles | None = None,
        kinds: Kinds | None = None,
    ) -> None:
        self.traces = traces
        self.session_start = min(
            (trace.header.start_time for trace in traces if trace.header.start_time is not None), default=None
        )
        self.rule = RemoteThreadRule(bound, self.session_start)
        self.counts: Counter[str] = Counter()
        self.unknown_versions: Counter[tuple[str, int]] = Counter()
        self.span: tuple[int, int] | None = None
        """The FILETIMEs of the first and the last event of interest; known before the first detection."""
        self.seconds = 0.0
        self.told_twice = 0
        """How many thread starts were left out because another provider tells of them too."""
        self.thread_providers: frozenset[bytes] = frozenset()
        """The GUIDs of the providers that tell of thread starts, empty for a file of events; known with `span`."""
        self.host: str | None = None
        """The machine's name where a trace tells it; known before the first detection."""
        self.finds_functions = files is not None
        """Whether there are image files to find functions in."""
        self._progress = progress
        self.pointer_size = max(trace.header.pointer_size for trace in traces)
        self.boot_time = max(trace.header.boot_time for trace in traces)
        self._enricher = Enricher(
            pointer_size=self.pointer_size,
            # The moment of the boot tells machines apart where none of them gives its name.
            machine=str(self.boot_time),
            files=files,
            kinds=kinds,
        )
        self._images = ImageLog()
        self._feed = ImageFeed(self._images, self._enricher)
        self._loss_records = 0
        self._loss_told = Loss(0, 0)
        """The losses that stand in their place among the events, which only files of events have."""

    @property
    def events_read(self) -> int:
        """All records of all kinds that were read."""
        return sum(trace.events_read for trace in self.traces)

    @property
    def damages(self) -> int:
        """How many places could not be read."""
        return sum(trace.damages.count for trace in self.traces)

    @property
    def images_damaged(self) -> int:
        """How many image events of the processes of remote threads could not be read."""
        return self._feed.damaged

    @property
    def events_lost(self) -> int:
        """How many events Windows lost while it recorded, at the least.

        An unfinalised log has no count, but marks the buffers that follow a loss.
        """
        counted = sum(trace.header.events_lost for trace in self.traces)
        return max(counted, self._loss_records, sum(trace.loss_marks for trace in self.traces))

    @property
    def buffers_lost(self) -> int:
        """How many whole buffers Windows lost while it recorded."""
        return sum(trace.header.buffers_lost for trace in self.traces)

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called before all was read."""
        return any(trace.stopped for trace in self.traces)

    def stop(self) -> None:
        """Read no further: `detections` goes on with what was read so far."""
        for trace in self.traces:
            if trace.bytes_read < trace.size:
                trace.stop()

    def detections(self) -> Iterator[Detection]:
        """Read everything, then yield the remote threads in time order; once only.

        OSError where events that are too many for memory can't be put in a temporary file.
        """
        started = time.perf_counter()
        sorters = self._sorted()
        images = self._feed
        for event in self._in_order(sorters):
            yield from images.settled(event)
            self._enricher.observe(event)
            hit = self.rule.observe(event)
            if hit is not None:
                images.found(hit)
                self._enricher.add(hit)
        self.seconds = time.perf_counter() - started
        yield from images.settled(None)
        self.seconds = time.perf_counter() - started

    def events(self) -> Iterator[Event]:
        """Read everything, then yield the events in the order in which the rule takes them; once only.

        All that is missing stands before all else, because a trace does not tell when it was lost; a damaged
        place is at least one event that was not seen. OSError as from `detections`, which goes another way: it
        looks into image events only where there is a remote thread.
        """
        sorters = self._sorted()
        decoder = Decoder(lambda *_: None, images=True)
        for raw in self._images:
            event = decoder.decode(raw)
            if event is not None:
                sorters.images.add(event)
        yield from self._in_order(sorters)

    def _sorted(self) -> Sorters:
        """Read everything."""
        sorters = Sorters()
        for trace in self.traces:
            if isinstance(trace, Trace):
                self._read(trace, sorters)
            else:
                self._read_events(trace, sorters)
        self.thread_providers = sorters.thread_providers
        for hook, count in self._images.hooks.items():
            self.counts[image_kind(hook)] += count
        return sorters

    def _in_order(self, sorters: Sorters) -> Iterator[Event]:
        events_lost = self.events_lost - self._loss_told.events + self.damages
        yield Loss(self.session_start or 0, events_lost, self.buffers_lost - self._loss_told.buffers)
        yield from sorters.in_order()

    def _read(self, trace: Trace, sorters: Sorters) -> None:
        decoder = Decoder(trace.damages.add, aside=self._images.add)
        for number, raw in enumerate(trace.records(_wanted(), self._images.taker(trace.clock))):
            event = decoder.decode(raw)
            if event is not None:
                self._take(event, sorters.of(event, raw.provider))
            if self._progress and number % _PROGRESS_EVERY == 0:
                self._progress(trace.bytes_read)
        self.counts += decoder.counts
        self.unknown_versions += decoder.unknown_versions
        self.told_twice = sorters.told_twice

    def _read_events(self, trace: RecordedTrace, sorters: Sorters) -> None:
        for number, event in enumerate(trace.events()):
            sorter = sorters.of(event, b"")
            if isinstance(event, Loss):
                told = self._loss_told
                self._loss_told = Loss(0, told.events + event.events, told.buffers + event.buffers)
                sorter.add(event)
            else:
                self._take(event, sorter)
            if self._progress and number % _PROGRESS_EVERY == 0:
                self._progress(trace.bytes_read)
        self.counts += trace.kinds

    def _take(self, event: Event, sorter: EventSorter) -> None:
        if isinstance(event, Loss):
            self._loss_records += event.events + event.buffers
            return
        if isinstance(event, ThreadStop):
            return  # which neither the rule nor the names take anything from
        if isinstance(event, MachineName):
            self.host = self.host or event.name or None
        if not isinstance(event, VolumeMapping | MachineName):  # which are not of a moment
            first, last = self.span or (event.time, event.time)
            self.span = min(first, event.time), max(last, event.time)
        self._enricher.prescan(event)
        sorter.add(event)
