"""Reads the events of one recording into sorters, one for each source: each provider of each file."""

from __future__ import annotations

import heapq
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from etwdetect.core.bounded import BoundedMap
from etwdetect.core.consistency import DERIVED
from etwdetect.core.events import (
    Contradiction,
    Loss,
    MachineName,
    ProcessStart,
    SourceStart,
    ThreadStart,
    ThreadStop,
    VolumeMapping,
)
from etwdetect.core.order import EventSorter, Sorter, order_of
from etwdetect.core.raw import EVENT_TRACING, IMAGE, KERNEL_PROCESS, LOST_EVENTS, STACK_WALK, THREAD
from etwdetect.offline.deferred_images import DeferredImages
from etwdetect.offline.deferred_stacks import DeferredStacks
from etwdetect.offline.doubles import APART, MOST_LIVES, Doubles
from etwdetect.sources.decode import Decoder, classic_opcodes, image_kind, stack_walk
from etwdetect.sources.etl.records import hook_ids
from etwdetect.sources.etl.walk import Wanted

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from etwdetect.core.events import Event
    from etwdetect.core.raw import RawEvent
    from etwdetect.enrich.enricher import Enricher
    from etwdetect.offline.columns import Columns
    from etwdetect.sources.etl.reader import FoundRecords, Trace
    from etwdetect.sources.eventdata.trace import EventDataTrace

    Progress = Callable[[int], None]

_MOST_HOSTS: Final = 64

_PROGRESS_EVERY: Final = 1024
"""How many events of interest pass between two calls of *progress*."""

MOST_WATCHED: Final = 16_384
"""How many starts of processes and of threads are remembered to notice that another session tells the same."""


def _wanted() -> Wanted:
    """Return what to look for in a trace: all that `Decoder` knows, and stacks; the kernel's images apart."""
    opcodes = classic_opcodes(images=True)
    hooks = [hook for provider in opcodes if provider != IMAGE for hook in hook_ids(provider, opcodes[provider])]
    guids = KERNEL_PROCESS, LOST_EVENTS, STACK_WALK, EVENT_TRACING, *opcodes
    return Wanted(hooks, guids, hook_ids(IMAGE, opcodes[IMAGE]), hook_ids(STACK_WALK, stack_walk.OPCODES))


MOST_DOUBTFUL: Final = 4096
"""In how many processes threads with equal starts may wait for a start of the process between."""

_MOST_OF_ONE: Final = 16
"""How many such pairs one process has, and of how many equal threads the times are kept."""
_MOST_STARTS: Final = 3


class Source:
    """The events of one *provider* in one file; *ahead* is how far its times are ahead of the first file's.

    With *digests*, each event is kept with a digest of its payload. *first* and *last* are the FILETIMEs of its
    first and last process or thread event, -1 without one.
    """

    def __init__(self, provider: bytes, ahead: int = 0, *, digests: bool = False) -> None:
        self.provider = provider
        self.ahead = ahead
        self.first = self.last = -1
        self.has_threads = False
        self.sorter: Sorter[Any] = Sorter(_order) if digests else EventSorter()
        self._digests = digests

    def covers(self, first: int, last: int) -> None:
        """Take that there are events from one FILETIME to another."""
        self.last = max(self.last, last)
        if first < self.first or self.first < 0:
            self.first = first

    def events(self) -> Iterator[tuple[Event, int | None]]:
        """Yield the events in order, each with its digest; once only."""
        return iter(self.sorter) if self._digests else ((event, None) for event in self.sorter)


def _order(item: tuple[Event, int]) -> tuple[int, int]:
    return order_of(item[0])


class Reading:
    """What the files of one recording hold; *enricher* takes the events ahead of time, in the order of the files.

    With *digests*, what one provider tells in several sessions can be recognised.
    """

    def __init__(self, enricher: Enricher, *, digests: bool) -> None:
        self.sources: list[Source] = []
        self.images = DeferredImages()
        self.stacks = DeferredStacks()
        self.doubles = Doubles()
        self.counts: Counter[str] = Counter()
        self.unknown_versions: Counter[tuple[str, int]] = Counter()
        self.host: str | None = None
        self.hosts: set[str] = set()
        """The names of machines, in lower case; more than one where files of several were joined."""
        self.loss_records = 0
        self.losses_in_place = Loss(0, 0)
        """The losses that stand in their place among the events, which only files of events have."""
        self.tells_twice = False
        """Whether one provider tells a start twice, so that *digests* are needed."""
        self.columns: Columns | None = None
        """The events, where they were read in columns: nothing is in the sorters of the sources then."""
        self.needs_objects = False
        """Whether reading in columns was given up."""
        self._digests = digests
        self._enricher = enricher
        self._beginnings: list[tuple[list[int], bool]] = []
        """Of each file: when its sources begin, and whether it is a ring, which has all events since the last."""

    def read(self, trace: Trace, ahead: int, progress: Progress | None, *, in_columns: bool) -> None:
        """Read a trace file; *ahead* is how much later its FILETIMEs of raw times are than the first file's.

        With *in_columns*, a large trace becomes `columns`. Where that turns out to have several sources, reading
        ends, and `needs_objects` tells.
        """
        reading = FileReading(self, trace, ahead, digests=self._digests)
        self.stacks.begin(trace)
        self.images.begin(trace.clock)
        windows = trace.windows(_wanted(), self.images.take, self.stacks.take)
        for number, found in enumerate(windows):
            if in_columns and number == 0 and found.is_wide:
                self.columns = self._columns_for(trace, found)
            if self.columns is None:
                self._take(found, reading, trace, progress)
                continue
            self.columns.take(found, reading)
            if len(self.sources) > 1:
                self.needs_objects = True
                return
            if progress:
                progress(trace.bytes_read)
        self.counts += reading.decoder.counts
        self.unknown_versions += reading.decoder.unknown_versions
        self.tells_twice |= reading.watch.tells_twice
        self._begin(trace, set(reading.sources.values()))

    def _columns_for(self, trace: Trace, first: FoundRecords) -> Columns | None:
        """Return columns for a trace that begins with *first*, where they suffice."""
        from etwdetect.offline.columns import Columns, are_of_one_source  # noqa: PLC0415 (lazy import: it loads numpy)

        if not are_of_one_source(first):
            return None
        return Columns(trace.clock, self._enricher.notice, self._enricher.prescan)

    def _take(self, found: FoundRecords, reading: FileReading, trace: Trace, progress: Progress | None) -> None:
        for number, raw in enumerate(found):
            event = reading.take(raw)
            if event is not None:
                reading.watch.see(event, raw)
                if isinstance(event, ThreadStart):
                    self.stacks.expect(event)
                self._enricher.prescan(event)
                reading.add(event, raw)
            if progress and number % _PROGRESS_EVERY == 0:
                progress(trace.bytes_read)

    def read_events(self, trace: EventDataTrace, progress: Progress | None) -> None:
        """Read a recording in a file of events."""
        source = Source(b"", digests=self._digests)
        self.sources.append(source)
        for number, event in enumerate(trace.events()):
            if isinstance(event, Contradiction) and event.name in DERIVED:
                continue  # it is found again
            if isinstance(event, Loss):
                before = self.losses_in_place
                self.losses_in_place = Loss(0, before.events + event.events, before.buffers + event.buffers)
            elif isinstance(event, (VolumeMapping, MachineName)):
                self.name(event)
            elif not isinstance(event, SourceStart):
                source.first = event.time if source.first < 0 else min(source.first, event.time)
                source.last = max(source.last, event.time)
            self._enricher.prescan(event)
            source.sorter.add((event, hash(event[1:])) if self._digests else event)
            if progress and number % _PROGRESS_EVERY == 0:
                progress(trace.bytes_read)
        self.counts += trace.kinds
        if trace.header.start_time is not None:
            self._beginnings.append(([trace.header.start_time], False))

    def name(self, event: VolumeMapping | MachineName) -> None:
        """Take an event that names something of the machine."""
        if isinstance(event, MachineName) and event.name:
            self.host = self.host or event.name
            if len(self.hosts) < _MOST_HOSTS:
                self.hosts.add(event.name.lower())

    def count_images(self) -> None:
        """Count the image events that were put aside; call it after the last file."""
        for hook, count in self.images.hooks.items():
            self.counts[image_kind(hook)] += count

    @property
    def span(self) -> tuple[int, int] | None:
        """The FILETIMEs of the first and the last process or thread event."""
        seen = [source for source in self.sources if source.first >= 0]
        return (min(each.first for each in seen), max(each.last for each in seen)) if seen else None

    @property
    def thread_providers(self) -> frozenset[bytes]:
        """The GUIDs of the providers that logged thread starts; those in files of events have none."""
        return frozenset(source.provider for source in self.sources if source.has_threads)

    def beginnings(self) -> tuple[int | None, list[int]]:
        """Return the FILETIME from which on the first source has all its events, and when the others begin."""
        if not self._beginnings:
            return None, []
        first = min(self._beginnings, key=lambda beginning: min(beginning[0]))
        times, is_ring = first
        start = max(times) if is_ring else min(times)
        others = [time for beginning in self._beginnings for time in beginning[0] if beginning is not first]
        return start, sorted({*others, *(time for time in times if time > start)})

    def in_order(self, images: EventSorter) -> Iterator[Event]:
        """Yield the events and *images* in order, and where another source begins; once only."""
        starts = [SourceStart(time) for time in self.beginnings()[1]]
        alone = len(self.sources) == 1 and not self._digests
        if self.columns is not None:
            events = self.columns.events()
        else:
            events = iter(self.sources[0].sorter) if alone else self.doubles.in_order(self.sources)
        more = [each for each in (starts, images) if each]
        return heapq.merge(*more, events, key=order_of) if more else events

    def _begin(self, trace: Trace, sources: Collection[Source]) -> None:
        times = [trace.clock.filetime(raw) for raw in trace.oldest.values()]
        is_ring = bool(times)
        if not is_ring:
            times = [source.first for source in sources if source.first >= 0]
        if times:
            self._beginnings.append((times, is_ring))


class FileReading:
    """One file of *reading* on its way: its decoder, its sources, and the starts that may be told twice."""

    def __init__(self, reading: Reading, trace: Trace, ahead: int, *, digests: bool) -> None:
        self.decoder = Decoder(trace.damages.add, aside=reading.images.add)
        self.keep_images = reading.images.keep
        self.watch = _Watch()
        self.sources: dict[bytes, Source] = {}
        self._reading = reading
        self._ahead = ahead
        self._digests = digests

    def take(self, raw: RawEvent) -> Event | None:
        """Decode *raw*, and return the event if the rule or the enrichment uses it."""
        event = self.decoder.decode(raw)
        if raw.stacks or raw.provider == STACK_WALK:
            self._reading.stacks.add(raw)
        if event is None:
            return None
        if isinstance(event, Loss):
            self._reading.loss_records += event.events + event.buffers
            return None
        source = self.sources.get(raw.provider) or self.source(raw.provider)
        if isinstance(event, ThreadStop):
            if self._digests:
                source.sorter.add((event, hash(raw.payload)))
            return None
        if isinstance(event, (VolumeMapping, MachineName)):
            self._reading.name(event)  # its time says nothing
            return event
        source.covers(event.time, event.time)
        source.has_threads |= isinstance(event, ThreadStart)
        return event

    def add(self, event: Event, raw: RawEvent) -> None:
        """Put the *event* of *raw* in order with the others of its source."""
        self.sources[raw.provider].sorter.add((event, hash(raw.payload)) if self._digests else event)

    def source(self, provider: bytes) -> Source:
        """Return the source of events of *provider*: the classes of the kernel logger are one."""
        named = KERNEL_PROCESS if provider == KERNEL_PROCESS else THREAD
        if named not in self.sources:
            self.sources[named] = Source(named, self._ahead, digests=self._digests)
            self._reading.sources.append(self.sources[named])
        self.sources[provider] = self.sources[named]
        return self.sources[named]


class _Watch:
    """Notices that one provider tells a start of one file twice: then the file may hold several sessions.

    A thread id may be used again with the same stack and TEB. Then a process started between, or else the watch
    errs, which costs a second reading.
    """

    def __init__(self) -> None:
        self._is_sure = False
        self._processes: set[int] = set()
        self._threads: dict[int, tuple[int, ...]] = {}
        """The times of each, the last ones in the order of the file, which is not that of time."""
        self._started: BoundedMap[int, tuple[int, ...]] = BoundedMap(MOST_LIVES)
        """When each process id started the last times, in the order of the file."""
        self._doubtful: dict[int, list[tuple[int, int]]] = {}
        """By process: the times of two such threads, until a start of the process is seen that lies between."""

    @property
    def tells_twice(self) -> bool:
        """Whether a start is told twice; complete at the end of the file."""
        return self._is_sure or bool(self._doubtful)

    def see(self, event: Event, raw: RawEvent) -> None:
        """Look at an event: only starts of processes, and of threads in other processes, are compared."""
        if isinstance(event, ThreadStart):
            if event.creator_pid != event.pid:
                self.thread(hash((raw.payload, raw.provider, raw.pid, raw.tid)), event.time, event.pid)
        elif isinstance(event, ProcessStart):
            self.process(hash((raw.payload, raw.provider, raw.pid, raw.tid)), event.time, event.pid)

    def process(self, digest: int, time: int, pid: int) -> None:
        """Take the start of process *pid*; the *digest* of its payload tells it from all others."""
        if digest in self._processes:
            self._is_sure = True
        elif len(self._processes) < MOST_WATCHED:
            self._processes.add(digest)
        self._started.put(pid, (*(self._started.get(pid) or ())[-_MOST_STARTS:], time))
        if pid in self._doubtful:
            left = [(one, other) for one, other in self._doubtful.pop(pid) if not one < time <= other]
            if left:
                self._doubtful[pid] = left

    def thread(self, digest: int, time: int, pid: int) -> None:
        """Take the start of a thread in process *pid*; the *digest* tells it from nearly all others."""
        known = self._threads.get(digest, ())
        if known or len(self._threads) < MOST_WATCHED:
            self._threads[digest] = (*known[1 - _MOST_OF_ONE :], time)
        before = [each for each in known if each <= time]
        behind = [each for each in known if each > time]
        if before:
            self._compare(max(before), time, pid)
        if behind:
            self._compare(time, min(behind), pid)

    def _compare(self, first: int, last: int, pid: int) -> None:
        """Compare the times of two equal threads of process *pid*, between which no third one is known."""
        if last - first <= APART:
            self._is_sure = True
        elif not any(first < started <= last for started in self._started.get(pid) or ()):
            self._doubtful.setdefault(pid, []).append((first, last))
            self._is_sure |= len(self._doubtful) > MOST_DOUBTFUL or len(self._doubtful[pid]) > _MOST_OF_ONE
