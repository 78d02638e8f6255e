"""Joins repeats: remote threads with one source, target and start within a time become one with a count."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from etwdetect.enrich.detection import Detection, Process

SECOND: Final = 10_000_000
"""In 100 ns units."""

BOUND: Final = 10_000
"""How many folds may be open; beyond that the oldest is released early."""


@dataclass(frozen=True, slots=True)
class _Fold:
    """The first of the repeats, their number, and the FILETIMEs of the first and the last."""

    first: Detection
    count: int
    begin: int
    last: int


class Folder:
    """A processor that holds each detection for *window*, in 100 ns units, and joins its repeats in that time.

    A repeat has the same source and target (the same processes, not only the same process ids), and the same
    start, kind, severity, rules and evidence. The first one stands for all; the counts add up to what was added.
    Detections are released in the order of the first ones.
    """

    def __init__(self, window: int, bound: int = BOUND) -> None:
        self._window = window
        self._bound = bound
        self._open: OrderedDict[Hashable, _Fold] = OrderedDict()

    def add(self, detection: Detection) -> Iterator[Detection]:
        """Take the next detection; yield those whose window has ended by then."""
        time = detection.thread.time
        yield from self.release(time)
        last = time if detection.last_time is None else detection.last_time
        key = _repeat_key(detection)
        fold = self._open.get(key)
        if fold is not None and abs(time - fold.begin) >= self._window:  # saved results can go back in time
            yield _folded(self._open.pop(key))
            fold = None
        if fold is None:
            self._open[key] = _Fold(detection, detection.count, time, last)
        else:
            self._open[key] = replace(fold, count=fold.count + detection.count, last=max(fold.last, last))
        if len(self._open) > self._bound:
            yield _folded(self._open.popitem(last=False)[1])

    def release(self, now: int | None) -> Iterator[Detection]:
        """Yield those whose window has ended by the FILETIME *now*, or all that is left."""
        while self._open:
            key, oldest = next(iter(self._open.items()))
            if now is not None and now < oldest.begin + self._window:
                return
            del self._open[key]
            yield _folded(oldest)


def _folded(fold: _Fold) -> Detection:
    if fold.count == fold.first.count:
        return fold.first
    return replace(fold.first, count=fold.count, last_time=fold.last)


def _repeat_key(detection: Detection) -> Hashable:
    """Return what is equal in two detections exactly if one is the repeat of the other."""
    return (
        detection.detector,
        detection.host,
        _process_key(detection.source),
        _process_key(detection.target),
        detection.thread.start_address,
        detection.start,
        detection.kind,
        detection.severity,
        detection.sigma,
        detection.thread.evidence,
    )


def _process_key(process: Process) -> Hashable:
    """Return what differs in two processes with one id: the start time; where that is not known, the program."""
    return process.pid, process.start_time, process.guid, process.image
