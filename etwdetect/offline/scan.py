"""Scans a recorded trace: decoding, time order, the rule, and what is known about each remote thread."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from etwdetect.core.events import Loss, MachineName, ThreadStop, VolumeMapping
from etwdetect.core.raw import IMAGE, KERNEL_PROCESS, LOST_EVENTS
from etwdetect.core.rule import DEFAULT_BOUND, RemoteThreadRule
from etwdetect.enrich.enricher import Enricher
from etwdetect.offline.deferred_images import DeferredImages
from etwdetect.offline.image_replay import ImageReplay
from etwdetect.offline.result import FileDamages, ScanResult
from etwdetect.offline.sorters import Sorters
from etwdetect.pipeline import Pipeline
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
    from etwdetect.enrich.paths import Drives
    from etwdetect.sources.eventdata.schema import RecordingStart
    from etwdetect.sources.eventdata.trace import EventDataTrace

_PROGRESS_EVERY: Final = 1024
"""How many events of interest pass between two calls of *progress*."""


def _wanted() -> Wanted:
    """Return what to look for in a trace: all that `Decoder` knows, with the kernel's image records apart."""
    opcodes = classic_opcodes(images=True)
    hooks = [hook for provider in opcodes if provider != IMAGE for hook in hook_ids(provider, opcodes[provider])]
    return Wanted(hooks, (KERNEL_PROCESS, LOST_EVENTS, *opcodes), hook_ids(IMAGE, opcodes[IMAGE]))


class Scan:
    """One trace, or consecutive files of one session, through decoding, time order, rule and enrichment.

    *bound* is that of the new-process table. *progress*, where given, is called now and then with the number of
    bytes read so far of the current file. *files* are the image files to find start functions in, *kinds* the
    rules for kinds, *drives* the drives of volumes. *host* names the machine, whatever the trace calls it. Use one
    of `detections`, `events` and `recording`, once; `result` tells the rest.
    """

    def __init__(  # noqa: PLR0913 (the options of a user)
        self,
        traces: Sequence[Trace | EventDataTrace],
        bound: int = DEFAULT_BOUND,
        progress: Callable[[int], None] | None = None,
        *,
        files: ImageFiles | None = None,
        kinds: Kinds | None = None,
        drives: Drives = (),
        host: str | None = None,
    ) -> None:
        self.traces = traces
        starts = (trace.header.start_time for trace in traces if trace.header.start_time is not None)
        self._session_start = min(starts, default=None)
        self._pointer_size = max(trace.header.pointer_size for trace in traces)
        self._boot_time = max(trace.header.boot_time for trace in traces)
        self.rule = RemoteThreadRule(bound, self._session_start)
        self._enricher = Enricher(
            pointer_size=self._pointer_size,
            # The boot time tells machines apart where no trace gives the name of one.
            machine=str(self._boot_time),
            host=host,
            files=files,
            kinds=kinds,
            drives=drives,
        )
        self._images = DeferredImages()
        self._replay = ImageReplay(self._images, self._enricher)
        self._pipeline = Pipeline(self.rule, self._enricher, self._replay.look_around)
        self._progress = progress
        self._sorters: Sorters | None = None
        self._finds_functions = files is not None
        self._counts: Counter[str] = Counter()
        self._unknown_versions: Counter[tuple[str, int]] = Counter()
        self._span: tuple[int, int] | None = None
        self._host = host
        self._loss_records = 0
        self._losses_in_place = Loss(0, 0)
        """The losses that stand in their place among the events, which only files of events have."""
        self._started = time.perf_counter()
        self._seconds = 0.0

    def result(self) -> ScanResult:
        """Return what was found so far; complete when `detections`, `events` or `recording` has ended.

        After `read`, only what the rule and the enrichment found is still missing.
        """
        sorters, table = self._sorters or Sorters(), self.rule.table
        return ScanResult(
            files=tuple(
                FileDamages(trace.name, trace.damages.count, tuple(trace.damages.described))
                for trace in self.traces
            ),
            span=self._span,
            host=self._host,
            thread_providers=sorters.thread_providers,
            finds_functions=self._finds_functions,
            events_read=sum(trace.events_read for trace in self.traces),
            counts=Counter(self._counts),
            unknown_versions=Counter(self._unknown_versions),
            duplicate_thread_starts=sorters.duplicate_thread_starts,
            events_lost=self._events_lost(),
            buffers_lost=self._buffers_lost(),
            images_damaged=self._replay.damaged,
            thread_starts=replace(self.rule.counts),
            table_size=len(table),
            table_bound=table.bound,
            evictions=table.evictions,
            stopped=any(trace.stopped for trace in self.traces),
            renamed=self._enricher.renamed,
            seconds=self._seconds,
        )

    def stop(self) -> None:
        """Read no further: `detections` continues with what was read so far."""
        for trace in self.traces:
            if trace.bytes_read < trace.size:
                trace.stop()

    def read(self) -> None:
        """Read all traces; the other methods do it where it is not done. OSError as from `detections`."""
        self._sorted()

    def detections(self) -> Iterator[Detection]:
        """Read everything, then yield the remote threads in time order.

        OSError where events that do not fit in memory can't be written to a temporary file.
        """
        observe, advance = self._pipeline.observe, self._replay.advance
        for event in self._in_order():
            for until in advance(event):
                yield from self._pipeline.take(until)
            if observe(event) is not None:
                yield from self._pipeline.take(0)  # only those that are too many
        self._seconds = time.perf_counter() - self._started
        for until in advance(None):
            yield from self._pipeline.take(until)
        self._seconds = time.perf_counter() - self._started

    def events(self) -> Iterator[Event]:
        """Read everything, then yield the events in the order in which the rule takes them.

        The first one is a Loss of all that is missing, because a trace does not tell when it was lost; a damaged
        place counts as one lost event. OSError as from `detections`, which decodes image events only where there
        is a remote thread.
        """
        sorters = self._sorted()
        decoder = Decoder(lambda *_: None, images=True)
        for raw in self._images:
            event = decoder.decode(raw)
            if event is not None:
                sorters.images.add(event)
        yield from self._in_order()

    def recording(self) -> Iterator[Event | RecordingStart]:
        """Read everything, then yield the `events` behind the RecordingStart that describes them.

        A Loss of nothing is left out.
        """
        from etwdetect.sources.eventdata.schema import RecordingStart  # noqa: PLC0415 (lazy import: fast start-up)

        events = self.events()
        loss = next(events)
        start = self._session_start or 0
        first = min(start, *(self._span or (start,)))
        yield RecordingStart(first, start, self._pointer_size, self._boot_time)
        if isinstance(loss, Loss) and (loss.events or loss.buffers):
            yield loss._replace(time=first)
        yield from events

    def _sorted(self) -> Sorters:
        if self._sorters is None:
            self._started = time.perf_counter()
            self._sorters = Sorters()
            for trace in self.traces:
                if isinstance(trace, Trace):
                    self._read(trace, self._sorters)
                else:
                    self._read_events(trace, self._sorters)
            for hook, count in self._images.hooks.items():
                self._counts[image_kind(hook)] += count
        return self._sorters

    def _in_order(self) -> Iterator[Event]:
        sorters = self._sorted()
        events_lost = self._events_lost() - self._losses_in_place.events + self._damages()
        buffers_lost = self._buffers_lost() - self._losses_in_place.buffers
        yield Loss(self._session_start or 0, events_lost, buffers_lost)
        yield from sorters.in_order()

    def _events_lost(self) -> int:
        # An unfinalised log has no count, but marks the buffers that follow a loss.
        counted = sum(trace.header.events_lost for trace in self.traces)
        return max(counted, self._loss_records, sum(trace.loss_marks for trace in self.traces))

    def _buffers_lost(self) -> int:
        return sum(trace.header.buffers_lost for trace in self.traces)

    def _damages(self) -> int:
        return sum(trace.damages.count for trace in self.traces)

    def _read(self, trace: Trace, sorters: Sorters) -> None:
        decoder = Decoder(trace.damages.add, aside=self._images.add)
        for number, raw in enumerate(trace.records(_wanted(), self._images.taker(trace.clock))):
            event = decoder.decode(raw)
            if event is not None:
                self._add(event, sorters.of(event, raw.provider))
            if self._progress and number % _PROGRESS_EVERY == 0:
                self._progress(trace.bytes_read)
        self._counts += decoder.counts
        self._unknown_versions += decoder.unknown_versions

    def _read_events(self, trace: EventDataTrace, sorters: Sorters) -> None:
        for number, event in enumerate(trace.events()):
            sorter = sorters.of(event, b"")
            if isinstance(event, Loss):
                before = self._losses_in_place
                self._losses_in_place = Loss(0, before.events + event.events, before.buffers + event.buffers)
                sorter.add(event)
            else:
                self._add(event, sorter)
            if self._progress and number % _PROGRESS_EVERY == 0:
                self._progress(trace.bytes_read)
        self._counts += trace.kinds

    def _add(self, event: Event, sorter: EventSorter) -> None:
        if isinstance(event, Loss):
            self._loss_records += event.events + event.buffers
            return
        if isinstance(event, ThreadStop):
            return  # neither the rule nor the enrichment uses it
        if isinstance(event, MachineName):
            self._host = self._host or event.name or None
        if not isinstance(event, VolumeMapping | MachineName):  # their times say nothing
            first, last = self._span or (event.time, event.time)
            self._span = min(first, event.time), max(last, event.time)
        self._enricher.prescan(event)
        sorter.add(event)
