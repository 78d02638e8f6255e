"""One recording on its way: read, put in order, judged by the rule, enriched. A file may hold several."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from etwdetect.core.consistency import Consistency
from etwdetect.core.events import Contradiction, Loss, SourceStart, ThreadStart
from etwdetect.core.filetime import LAST_FILETIME
from etwdetect.core.order import EventSorter
from etwdetect.core.rule import RemoteThreadRule
from etwdetect.enrich.enricher import Enricher
from etwdetect.offline.image_replay import ImageReplay
from etwdetect.offline.reading import Reading
from etwdetect.pipeline import Pipeline
from etwdetect.sources.decode import Decoder
from etwdetect.sources.etl.reader import Trace

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterator, Sequence

    from etwdetect.core.events import Event
    from etwdetect.core.prefilter import Flags
    from etwdetect.enrich.detection import Detection
    from etwdetect.enrich.imagefiles import ImageFiles
    from etwdetect.enrich.kinds import Kinds
    from etwdetect.enrich.paths import Drives
    from etwdetect.offline.columns import Columns
    from etwdetect.offline.reading import Progress
    from etwdetect.offline.runs import Rows
    from etwdetect.offline.selection import Selection
    from etwdetect.sources.eventdata.schema import RecordingStart
    from etwdetect.sources.eventdata.trace import EventDataTrace


class RecordingScan:
    """The scan of one recording: of *traces* that are one session, or files of it; the parameters are `Scan`'s."""

    def __init__(  # noqa: PLR0913 (the options of a user)
        self,
        traces: Sequence[Trace | EventDataTrace],
        *,
        bound: int,
        files: ImageFiles | None,
        kinds: Kinds | None,
        drives: Drives,
        host: str | None,
    ) -> None:
        self.traces = traces
        self._pointer_size = max(trace.header.pointer_size for trace in traces)
        self._boot_time = max(trace.header.boot_time for trace in traces)
        self.rule = RemoteThreadRule(bound)
        self._enricher = Enricher(
            pointer_size=self._pointer_size,
            # The boot time tells machines apart where no trace gives the name of one.
            machine=str(self._boot_time),
            host=host,
            files=files,
            kinds=kinds,
            drives=drives,
        )
        self._bound = bound
        self.reading = Reading(self._enricher, digests=len(traces) > 1)
        self.images_damaged = 0
        self.contradictions: list[str] = []
        """Those of the whole recording, as evidence."""

    def read(self, progress: Progress | None) -> None:
        """Read the files; a second time where one provider tells something twice, or columns do not suffice."""
        alone = len(self.traces) == 1
        self._read(progress, in_columns=alone)
        if self.reading.needs_objects:
            self._read_again(progress, digests=False)
        if self.reading.tells_twice and alone:
            self._read_again(progress, digests=True)
        self.reading.count_images()

    def _read_again(self, progress: Progress | None, *, digests: bool) -> None:
        for trace in self.traces:
            if isinstance(trace, Trace):
                trace.rewind()
        self.reading = Reading(self._enricher, digests=digests)
        self._read(progress, in_columns=False)

    def _read(self, progress: Progress | None, *, in_columns: bool) -> None:
        first = self.traces[0]
        for trace in self.traces:
            if not isinstance(trace, Trace):
                self.reading.read_events(trace, progress)
                continue
            one_clock = isinstance(first, Trace) and trace.header.has_clock_of(first.header)
            ahead = trace.clock.ahead_of(first.clock) if one_clock and isinstance(first, Trace) else 0
            self.reading.read(trace, ahead, progress, in_columns=in_columns)

    def detections(self) -> Iterator[Detection]:
        """Yield the remote threads in time order."""
        columns = self.reading.columns
        if columns is None:
            yield from self._detections(self._in_order(EventSorter()))
            return
        selection = self._judge(columns)
        if selection is not None:
            self.rule = RemoteThreadRule(self._bound)
            for rows in columns.blocks():
                for row in rows[selection.processes(rows)].tolist():
                    self._enricher.prescan(columns.event(row))
            yield from self._detections(self._chosen(columns, selection))

    def _detections(self, events: Iterator[Event]) -> Iterator[Detection]:
        replay = ImageReplay(self.reading.images, self.reading.stacks, self._enricher)
        pipeline = Pipeline(self.rule, self._enricher, replay.look_around)
        observe, advance = pipeline.observe, replay.advance
        for event in events:
            for until in advance(event):
                yield from pipeline.take(until)
            if observe(event) is not None:
                yield from pipeline.take(0)  # only those that are too many
        for until in advance(None):
            yield from pipeline.take(until)
        self.images_damaged = replay.damaged

    def _judge(self, columns: Columns) -> Selection | None:
        """Let the rule judge *columns*; return what the enrichment must see, or None if that is nothing."""
        from etwdetect.offline.selection import Selection  # noqa: PLC0415 (lazy import: it loads numpy)

        selection, rule = Selection(), self.rule
        for event, _ in self._seen(columns, selection.follow):
            thread = rule.observe(event)
            if thread is not None:
                selection.hit(thread)
                self.reading.stacks.expect(thread)
        images = self.reading.images
        return selection if selection.finish(images.processes, len(images), columns.longest) else None

    def _chosen(self, columns: Columns, selection: Selection) -> Iterator[Event]:
        """Yield what the enrichment must see, and threads that may be remote; the rule alone takes the rest."""
        for event, is_chosen in self._seen(columns, selection.shows):
            if is_chosen:
                yield event
            else:
                self.rule.observe(event)

    def _seen(self, columns: Columns, choose: Callable[[Rows], Flags | None]) -> Iterator[tuple[Event, bool]]:
        """Yield the events that the rule must see, and those of rows that *choose* returns: these are whole.

        Beside each is whether it is chosen, or else the rule alone needs it. The others are counted.
        """
        from etwdetect.core import prefilter  # noqa: PLC0415 (lazy import: it loads numpy)
        from etwdetect.offline.columns import event_for_rule  # noqa: PLC0415
        from etwdetect.offline.runs import time_of  # noqa: PLC0415

        consistency, rule = Consistency(), self.rule
        is_chosen = True

        def events() -> Iterator[Event]:
            nonlocal is_chosen
            yield from self._at_first()
            for rows in columns.blocks():
                code, pid, creator = rows["code"], rows["pid"], rows["creator_pid"]
                chosen = choose(rows)
                passed = prefilter.passed_over(code, pid, creator, rule, consistency, chosen)
                if chosen is not None:
                    passed &= ~chosen
                rule.count(prefilter.counts_of(code[passed], pid[passed], creator[passed]))
                whole = (
                    code == prefilter.THREAD_START if chosen is None else chosen | (code == prefilter.THREAD_START)
                )
                shown = ~passed | (code == prefilter.PROCESS_STOP)
                flags = zip(passed[shown].tolist(), whole[shown].tolist(), strict=True)
                for row, (is_passed, is_whole) in zip(rows[shown].tolist(), flags, strict=True):
                    if is_passed:
                        consistency.lived(row[3], time_of(row[0]))
                    else:
                        is_chosen = is_whole
                        yield columns.event(row) if is_whole else event_for_rule(row)

        for event in consistency.checked(events()):
            yield event, is_chosen or isinstance(event, Contradiction)

    def events(self) -> Iterator[Event]:
        """Yield the events in the order in which the rule takes them: first a Loss of all that is missing."""
        images = EventSorter()
        decoder = Decoder(lambda *_: None, images=True)
        for raw in self.reading.images:
            event = decoder.decode(raw)
            if event is not None:
                images.add(event)
        columns, stacks = self.reading.columns, self.reading.stacks
        if columns is not None and stacks:
            for event in columns.events():
                if isinstance(event, ThreadStart):
                    stacks.expect(event)
        return self._with_stacks(self._in_order(images))

    def _with_stacks(self, events: Iterator[Event]) -> Iterator[Event]:
        """Yield *events*, each thread start behind its call stack."""
        for event in events:
            stack = self.reading.stacks.of(event) if isinstance(event, ThreadStart) else None
            if stack is not None:
                yield stack
            yield event

    def recording(self) -> Iterator[Event | RecordingStart]:
        """Yield the `events` behind the RecordingStart that describes them; a Loss of nothing is left out."""
        from etwdetect.sources.eventdata.schema import RecordingStart  # noqa: PLC0415 (lazy import: fast start-up)

        start, events = self._start, self.events()
        # Names of drives and of the machine may be as old as the session.
        began = (_began(trace) or start for trace in self.traces)
        first = min(start, *began, *(self.reading.span or (start,)))
        yield RecordingStart(first, start, self._pointer_size, self._boot_time)
        loss = next(events)
        if isinstance(loss, Loss) and (loss.events or loss.buffers):
            yield loss._replace(time=first)
        next(events)  # the RecordingStart tells it
        yield from events

    @property
    def events_lost(self) -> int:
        """How many events Windows lost while it recorded, at the least."""
        # An unfinalised log has no count, but marks the buffers that follow a loss.
        counted = sum(trace.header.events_lost for trace in self.traces)
        return max(counted, self.reading.loss_records, sum(trace.loss_marks for trace in self.traces))

    @property
    def buffers_lost(self) -> int:
        """How many buffers Windows lost while it recorded."""
        return sum(trace.header.buffers_lost for trace in self.traces)

    @property
    def contradictory(self) -> Counter[str]:
        """How many events contradict others, by evidence."""
        return self.rule.contradictions + self._enricher.contradictions

    @property
    def _start(self) -> int:
        """When the first source begins or, without an event, the session."""
        start = self.reading.beginnings()[0]
        return start if start is not None else min(map(_began, self.traces))

    def _in_order(self, images: EventSorter) -> Iterator[Event]:
        events = chain(self._at_first(), self.reading.in_order(images))
        yield from Consistency().checked(events)

    def _at_first(self) -> Iterator[Event]:
        """Yield what is to be known before the first event: what is missing, and when the first source begins."""
        in_place = self.reading.losses_in_place
        events = self.events_lost - in_place.events + sum(trace.damages.count for trace in self.traces)
        missing = sum(trace.missing for trace in self.traces if isinstance(trace, Trace))
        yield Loss(self._start, events, self.buffers_lost - in_place.buffers + missing)
        yield SourceStart(self._start)
        for name in self.contradictions:
            yield Contradiction(self._start, name)


def _began(trace: Trace | EventDataTrace) -> int:
    """Return the FILETIME at which the session of *trace* began, 0 where its header does not tell one."""
    time = trace.header.start_time if isinstance(trace, Trace) else trace.header.time
    return time if time is not None and 0 <= time <= LAST_FILETIME else 0
