"""A recording of Sysmon: its records, in the order of the file, and what could not be read."""

from __future__ import annotations

import json
from functools import partial
from typing import IO, TYPE_CHECKING, Final

from etwdetect.core.sysmon import DeferredAccess, SysmonAccess, SysmonThread
from etwdetect.sources.sysmon import RecordingForm
from etwdetect.sources.sysmon.evtx import UnparsedAccess, evtx_events
from etwdetect.sources.sysmon.records import record_of, time_of
from etwdetect.sources.sysmon.shapes import WindowsEvent, event_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from etwdetect.core.sysmon import SysmonRecord
    from etwdetect.sources.sysmon.evtx import Unparsed

_DESCRIBED: Final = 10
_THREADS_KEPT: Final = 4096
_TID_DIGITS: Final = 10
"""Any number with fewer is a thread id."""


class SysmonFile:
    """The records in *file*, which is seekable; `records` yields them, once.

    `faults` counts what could not be read, `described` has the place and reason of the first of them. `events`
    counts the records, `of_etwdetect` the remote threads that name it as their provider.
    """

    def __init__(self, file: IO[bytes], form: RecordingForm) -> None:
        self.faults = 0
        self.described: list[str] = []
        self.events = 0
        self.of_etwdetect = 0
        self._threads: dict[tuple[str, ...], SysmonThread] = {}
        """Threads by the text that repeats of them share."""
        self._file = file
        self._form = form

    def records(self) -> Iterator[SysmonRecord | DeferredAccess]:
        """Yield the records. Raises MissingExtraError for .evtx without the package evtx."""
        try:
            for place, event in self._events():
                record = (
                    self._record(place, event) if isinstance(event, WindowsEvent) else self._unparsed(place, event)
                )
                if record is not None:
                    self.events += 1
                    yield record
        except OSError as error:
            self.add_fault(f"the file cannot be read any further: {error.strerror}")

    def _record(self, place: str, event: WindowsEvent) -> SysmonRecord | None:
        """Return the record of *event*; None where it is not of Sysmon, is of no use, or can't be read."""
        try:
            record = record_of(event) if event.is_of_sysmon else None
        except ValueError as error:
            self.add_fault(f"{place}: {error}")
            return None
        self.of_etwdetect += isinstance(record, SysmonThread) and event.is_of_etwdetect
        return record

    def _unparsed(self, place: str, event: Unparsed) -> SysmonRecord | DeferredAccess | None:
        """Return the record of *event*: parsed later, or like an earlier one, which most events 8 are."""
        if isinstance(event, UnparsedAccess):
            return DeferredAccess(
                event.time, event.pair, len(event.text), partial(self._access, place, event.text)
            )
        same, time, tid, text = event
        earlier = self._threads.get(same)
        if earlier is not None and tid.isdecimal() and len(tid) < _TID_DIGITS:
            try:
                # Making it anew takes a third of what _replace() takes.
                return SysmonThread._make((time_of(time), *earlier[1:4], int(tid), *earlier[5:]))
            except ValueError:
                pass
        record = self._parsed(place, text)
        if isinstance(record, SysmonThread):
            if len(self._threads) >= _THREADS_KEPT:
                self._threads.clear()
            self._threads[same] = record
        return record

    def _parsed(self, place: str, text: str) -> SysmonRecord | None:
        """Return the record in *text*, JSON; None where it can't be read."""
        try:
            event = event_in(json.loads(text))
        except (ValueError, RecursionError) as error:
            self.add_fault(f"{place}: {error}")
            return None
        return self._record(place, event) if event else None

    def _access(self, place: str, text: str) -> SysmonAccess | None:
        """Return the access in *text*, the JSON of an event 10; None where it can't be read."""
        record = self._parsed(place, text)
        return record if isinstance(record, SysmonAccess) else None

    def add_fault(self, fault: str) -> None:
        """Count *fault*, and keep it if it is one of the first."""
        self.faults += 1
        if len(self.described) < _DESCRIBED:
            self.described.append(fault)

    def _events(self) -> Iterator[tuple[str, WindowsEvent | Unparsed]]:
        return _reader(self._form)(self._file, self.add_fault)


def _reader(
    form: RecordingForm,
) -> Callable[[IO[bytes], Callable[[str], None]], Iterator[tuple[str, WindowsEvent | Unparsed]]]:
    """Return what reads *form*; loaded when it is needed: fast start-up."""
    if form is RecordingForm.EVTX:
        return evtx_events
    from etwdetect.sources.sysmon.text import json_events, xml_events  # noqa: PLC0415

    return json_events if form is RecordingForm.JSON else xml_events
