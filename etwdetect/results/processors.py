"""The steps between the filter and the output: each may change detections, hold them or join them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from etwdetect.enrich.detection import Detection


class Processor(Protocol):
    """Takes detections in order of time, and returns them, changed or not, at once or later."""

    def add(self, detection: Detection) -> Iterable[Detection]:
        """Take the next detection; return what is ready."""

    def release(self, now: int | None) -> Iterable[Detection]:
        """Return what is ready at the FILETIME *now*, or, where it is None, all that is left."""


class ProcessorChain:
    """Several processors in a row, as one."""

    def __init__(self, processors: Sequence[Processor] = ()) -> None:
        self._processors = processors

    def add(self, detection: Detection) -> Iterator[Detection]:
        """Take the next detection; yield what has passed all processors."""
        yield from self._through([detection], self._processors)

    def release(self, now: int | None) -> Iterator[Detection]:
        """Yield what passes all processors by the FILETIME *now*, or all that is left."""
        for number, processor in enumerate(self._processors):
            yield from self._through(processor.release(now), self._processors[number + 1 :])

    def _through(self, detections: Iterable[Detection], processors: Sequence[Processor]) -> Iterator[Detection]:
        if not processors:
            yield from detections
            return
        for detection in detections:
            yield from self._through(processors[0].add(detection), processors[1:])
