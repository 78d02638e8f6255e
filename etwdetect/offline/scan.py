"""Scans a recorded trace: decoding, time order, the rule, and what is known about each remote thread."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING, Final

from etwdetect.core.rule import DEFAULT_BOUND, RemoteThreadRule, RuleCounts
from etwdetect.offline.recording import RecordingScan
from etwdetect.offline.result import FileDamages, ScanResult
from etwdetect.sources.etl.reader import Trace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from etwdetect.core.events import Event
    from etwdetect.enrich.detection import Detection
    from etwdetect.enrich.imagefiles import ImageFiles
    from etwdetect.enrich.kinds import Kinds
    from etwdetect.enrich.paths import Drives
    from etwdetect.sources.eventdata.schema import RecordingStart
    from etwdetect.sources.eventdata.trace import EventDataTrace

MOST_RECORDINGS: Final = 64
"""How many recordings of one file are read."""


class Scan:
    """One trace, or consecutive files of one session, through decoding, time order, rule and enrichment.

    A further logfile header in a file begins a recording of its own. *bound* is that of the new-process table.
    *progress*, where given, is called now and then with the number of bytes read so far of the current file.
    *files* are the image files to find start functions in, *kinds* the rules for kinds, *drives* the drives of
    volumes. *host* names the machine, whatever the trace calls it. Use one of `detections`, `events` and
    `recording`, once; `result` tells the rest.
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
        self._bound = bound
        self._host = host
        self._progress = progress
        self._finds_functions = files is not None
        self._recording_of = partial(
            RecordingScan, bound=bound, files=files, kinds=kinds, drives=drives, host=host
        )
        self._recordings = [self._recording_of(traces)]
        self._is_read = False
        self._started = time.perf_counter()
        self._seconds = 0.0

    @property
    def rule(self) -> RemoteThreadRule:
        """The rule of the first recording."""
        return self._recordings[0].rule

    def result(self) -> ScanResult:
        """Return what was found so far; complete when `detections`, `events` or `recording` has ended.

        After `read`, only what the rule and the enrichment found is still missing.
        """
        readings = [recording.reading for recording in self._recordings]
        traces = [trace for recording in self._recordings for trace in recording.traces]
        spans = [reading.span for reading in readings if reading.span]
        doubles = [reading.doubles for reading in readings]
        rules = [recording.rule for recording in self._recordings]
        return ScanResult(
            files=tuple(map(_damages_of, self.traces)),
            span=(min(first for first, _ in spans), max(last for _, last in spans)) if spans else None,
            host=self._host or next((reading.host for reading in readings if reading.host), None),
            thread_providers=frozenset().union(*(reading.thread_providers for reading in readings)),
            finds_functions=self._finds_functions,
            events_read=sum(trace.events_read for trace in traces),
            counts=sum((reading.counts for reading in readings), Counter()),
            unknown_versions=sum((reading.unknown_versions for reading in readings), Counter()),
            told_by_one_provider=sum(each.one_provider for each in doubles),
            told_by_two_providers=sum(each.two_providers for each in doubles),
            recordings=len(self._recordings),
            doubled_buffers=sum(trace.doubled for trace in traces if isinstance(trace, Trace)),
            events_lost=sum(recording.events_lost for recording in self._recordings),
            buffers_lost=sum(recording.buffers_lost for recording in self._recordings),
            images_damaged=sum(recording.images_damaged for recording in self._recordings),
            stacks_damaged=sum(reading.stacks.damaged for reading in readings),
            thread_starts=_sum([rule.counts for rule in rules]),
            possible_misses=tuple(thread for rule in rules for thread in rule.possible_misses),
            possible_miss_count=sum(rule.possible_miss_count for rule in rules),
            hosts=len(readings[0].hosts) if len(self.traces) > 1 else 1,
            table_size=sum(len(rule.table) for rule in rules),
            table_bound=self._bound,
            evictions=sum(rule.table.evictions for rule in rules),
            stopped=any(trace.stopped for trace in traces),
            contradictions=sum((recording.contradictory for recording in self._recordings), Counter()),
            seconds=self._seconds,
        )

    def stop(self) -> None:
        """Read no further: `detections` continues with what was read so far."""
        for recording in self._recordings:
            for trace in recording.traces:
                if trace.bytes_read < trace.size:
                    trace.stop()

    def read(self) -> None:
        """Read all traces; the other methods do it where it is not done. OSError as from `detections`."""
        if self._is_read:
            return
        self._is_read = True
        self._started = time.perf_counter()
        for recording in self._recordings:  # it grows meanwhile
            recording.read(self._progress)
            for trace in recording.traces:
                following = trace.following if isinstance(trace, Trace) else None
                if following is None or trace.stopped:
                    continue
                if len(self._recordings) < MOST_RECORDINGS:
                    self._recordings.append(self._recording_of([following]))
                else:
                    trace.damages.add(
                        trace.size, f"the file holds more than {MOST_RECORDINGS} recordings; the rest is not read"
                    )
        for recording in self._recordings:
            if len(self._recordings) > 1:
                recording.contradictions.append("second-header")
            if any(trace.doubled for trace in recording.traces if isinstance(trace, Trace)):
                recording.contradictions.append("doubled-buffer")
            if len(recording.traces) > 1 and len(recording.reading.hosts) > 1:
                recording.contradictions.append("several-hosts")

    def detections(self) -> Iterator[Detection]:
        """Read everything, then yield the remote threads of each recording in time order.

        OSError where events that do not fit in memory can't be written to a temporary file.
        """
        self.read()
        for recording in self._recordings:
            yield from recording.detections()
            self._seconds = time.perf_counter() - self._started

    def events(self) -> Iterator[Event]:
        """Read everything, then yield the events of each recording in the order in which the rule takes them.

        The first one is a Loss of all that is missing, because a trace does not tell when it was lost; a damaged
        place counts as one lost event. OSError as from `detections`, which decodes image events only where there
        is a remote thread.
        """
        self.read()
        for recording in self._recordings:
            yield from recording.events()

    def recording(self) -> Iterator[Event | RecordingStart]:
        """Read everything, then yield the `events` of each recording behind its RecordingStart.

        A Loss of nothing is left out.
        """
        self.read()
        for recording in self._recordings:
            yield from recording.recording()


def _sum(counts: Sequence[RuleCounts]) -> RuleCounts:
    names = [field.name for field in fields(RuleCounts)]
    return RuleCounts(**{name: sum(getattr(each, name) for each in counts) for name in names})


def _damages_of(trace: Trace | EventDataTrace) -> FileDamages:
    """Return the damaged places of *trace* and of the recordings that follow it in its file."""
    count, described, missing, buffers = 0, [], 0, 0
    each: Trace | EventDataTrace | None = trace
    while each is not None:
        count += each.damages.count
        described += each.damages.described
        if isinstance(each, Trace):
            missing += each.missing
            buffers += each.header.buffers_expected or 0
        each = each.following if isinstance(each, Trace) else None
    repeated = 0 if isinstance(trace, Trace) else trace.repeated
    return FileDamages(trace.name, count, tuple(described), missing, buffers, repeated)
