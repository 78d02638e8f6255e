"""Reads the inputs that a command is given, one after the other."""

from __future__ import annotations

import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final, TypeVar

import click

from etwdetect.cli import say
from etwdetect.cli.enrichment import Enrichment
from etwdetect.cli.signals import on_interruption
from etwdetect.cli.status import Status
from etwdetect.core.errors import EtwDetectError, NotATraceError
from etwdetect.offline import Scan
from etwdetect.offline.inputs import SavedInput, find_all, find_inputs
from etwdetect.results.wording import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from etwdetect.offline.inputs import Input
    from etwdetect.results.saved import SavedResults
    from etwdetect.sources.etl.reader import Trace
    from etwdetect.sources.eventdata.trace import RecordedInput, RecordedTrace

    _Find = Callable[[Path], Iterator[Input | RecordedInput | SavedInput]]

_LONG: Final = 32 << 20
"""From how many bytes on a trace gets a progress bar."""

_Item = TypeVar("_Item")


class Traces:
    """The inputs at *paths*: traces, each alone or, with *join*, all as one; with *results*, saved ones as well.

    *enrichment* is what to add words with. *statuses* gets an error for each trace that can't be read, *errors*
    says which; the command adds the statuses of the scans.
    """

    def __init__(
        self, paths: Sequence[Path], *, join: bool, enrichment: Enrichment | None = None, results: bool = False
    ) -> None:
        self.statuses: list[Status] = []
        self.errors: list[NotATraceError] = []
        found = list(self._find(paths, find_all if results else find_inputs))
        self._saved = [each for each in found if isinstance(each, SavedInput)]
        inputs = [each for each in found if not isinstance(each, SavedInput)]
        self._groups = [inputs] if join and inputs else [[each] for each in inputs]
        self._interrupted = False
        self._enrichment = enrichment or Enrichment()

    def __len__(self) -> int:
        """How many scans there will be, and saved results."""
        return len(self._groups) + len(self._saved)

    def scans(self) -> Iterator[Scan]:
        """Open the traces and yield a scan of each, until Ctrl+C ends the reading; then tell of images."""
        for group in self._groups:
            if self._interrupted:
                break
            with ExitStack() as stack:
                opened = [trace for each in group if (trace := self._open(stack, each)) is not None]
                if opened:
                    opened.sort(key=lambda trace: trace.header.start_time or 0)
                    progress = stack.enter_context(_progress(opened))
                    words = self._enrichment
                    yield Scan(opened, progress=progress, files=words.files, kinds=words.kinds)
        for line in self._enrichment.complaints():
            say(line)

    def saved(self) -> Iterator[SavedResults]:
        """Open the saved results, one after the other, until Ctrl+C ends the reading."""
        if self._saved and self._enrichment.chosen:
            say("saved results keep their functions and kinds: --images and --rules are for traces")
        for each in self._saved:
            if self._interrupted:
                break
            with ExitStack() as stack:
                try:
                    results = stack.enter_context(each.open())
                except NotATraceError as error:
                    self._failed(error)
                else:
                    yield results

    def until_stopped(self, scan: Scan | SavedResults, items: Iterator[_Item]) -> Iterator[_Item]:
        """Yield *items* of *scan*; Ctrl+C ends the reading, and a second one the rest."""

        def stop() -> None:
            scan.stop()
            self._interrupted = True

        with on_interruption(stop):
            while True:
                try:
                    item = next(items)
                except StopIteration:
                    return
                except OSError as error:
                    raise EtwDetectError(f"events cannot be put in a temporary file: {error.strerror}") from error
                yield item

    def _find(self, paths: Sequence[Path], find: _Find) -> Iterator[Input | RecordedInput | SavedInput]:
        for path in paths:
            try:
                yield from find(path)
            except NotATraceError as error:
                self._failed(error)

    def _open(self, stack: ExitStack, found: Input | RecordedInput) -> Trace | RecordedTrace | None:
        opening: AbstractContextManager[Trace | RecordedTrace] = found.open()
        try:
            return stack.enter_context(opening)
        except NotATraceError as error:
            self._failed(error)
            return None

    def _failed(self, error: NotATraceError) -> None:
        say(printable(str(error)))
        self.errors.append(error)
        self.statuses.append(Status.ERROR)


def status_of_saved(saved: SavedResults) -> Status:
    """Return the status of *saved*, which was read."""
    if not saved.faults and not saved.stopped:
        return Status.DONE
    return Status.INCOMPLETE if saved.records or saved.stopped else Status.ERROR


@contextmanager
def _progress(traces: Sequence[Trace | RecordedTrace]) -> Iterator[Callable[[int], None] | None]:
    """Show a progress bar on standard error while traces are read, if they are long and someone looks on."""
    size = sum(trace.size for trace in traces)
    if size < _LONG or not sys.stderr.isatty():
        yield None
        return
    with click.progressbar(length=size, label="reading", file=sys.stderr) as bar:
        seen = 0

        def advance(_: int) -> None:
            nonlocal seen
            read = sum(trace.bytes_read for trace in traces)
            bar.update(read - seen)
            seen = read

        yield advance
