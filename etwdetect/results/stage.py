"""What may happen to detections between the filter and the output, one stage after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from etwdetect.enrich.detection import Detection


class Stage(Protocol):
    """Takes detections in order of time, and gives them back, changed or not, at once or later."""

    def add(self, detection: Detection) -> Iterable[Detection]:
        """Take the next detection; return what is ready."""

    def take(self, now: int | None) -> Iterable[Detection]:
        """Return what is ready at the FILETIME *now*, or, where it is None, all that is left."""


class Stages:
    """Several stages in a row, as one."""

    def __init__(self, stages: Sequence[Stage] = ()) -> None:
        self._stages = stages

    def add(self, detection: Detection) -> Iterator[Detection]:
        """Take the next detection; yield what has come through all stages."""
        yield from self._through([detection], self._stages)

    def take(self, now: int | None) -> Iterator[Detection]:
        """Yield what comes through all stages by the FILETIME *now*, or all that is left."""
        for number, stage in enumerate(self._stages):
            yield from self._through(stage.take(now), self._stages[number + 1 :])

    def _through(self, detections: Iterable[Detection], stages: Sequence[Stage]) -> Iterator[Detection]:
        if not stages:
            yield from detections
            return
        for detection in detections:
            yield from self._through(stages[0].add(detection), stages[1:])
