"""A recording of Sysmon: its records, in the order of the file, and what could not be read."""

from __future__ import annotations

from collections import Counter
from typing import IO, TYPE_CHECKING, Final

from etwdetect.sources.sysmon import RecordingForm
from etwdetect.sources.sysmon.records import record_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from etwdetect.core.sysmon import SysmonRecord
    from etwdetect.sources.sysmon.shapes import WindowsEvent

_DESCRIBED: Final = 10


class SysmonFile:
    """The records in *file*, which is seekable; `records` yields them, once.

    `faults` counts what could not be read, `described` has the place and reason of the first of them. `kinds`
    counts the records by type.
    """

    def __init__(self, file: IO[bytes], form: RecordingForm) -> None:
        self.faults = 0
        self.described: list[str] = []
        self.kinds: Counter[str] = Counter()
        self._file = file
        self._form = form

    def records(self) -> Iterator[SysmonRecord]:
        """Yield the records. Raises MissingExtraError for .evtx without the package evtx."""
        try:
            for place, event in self._events():
                if not event.is_of_sysmon:
                    continue
                try:
                    record = record_of(event)
                except ValueError as error:
                    self.add_fault(f"{place}: {error}")
                    continue
                if record is not None:
                    self.kinds[type(record).__name__] += 1
                    yield record
        except OSError as error:
            self.add_fault(f"the file cannot be read any further: {error.strerror}")

    def add_fault(self, fault: str) -> None:
        """Count *fault*, and keep it if it is one of the first."""
        self.faults += 1
        if len(self.described) < _DESCRIBED:
            self.described.append(fault)

    def _events(self) -> Iterator[tuple[str, WindowsEvent]]:
        return _reader(self._form)(self._file, self.add_fault)


def _reader(
    form: RecordingForm,
) -> Callable[[IO[bytes], Callable[[str], None]], Iterator[tuple[str, WindowsEvent]]]:
    """Return what reads *form*; loaded when it is needed: fast start-up."""
    if form is RecordingForm.EVTX:
        from etwdetect.sources.sysmon.evtx import evtx_events  # noqa: PLC0415

        return evtx_events
    from etwdetect.sources.sysmon.text import json_events, xml_events  # noqa: PLC0415

    return json_events if form is RecordingForm.JSON else xml_events
