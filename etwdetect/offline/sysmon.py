"""A recording of Sysmon as an input: its detections, and the messages about it."""

from __future__ import annotations

from collections import Counter
from typing import IO, TYPE_CHECKING, Final

from etwdetect.core.sysmon import SysmonNotice
from etwdetect.enrich.sysmon import SysmonEnricher
from etwdetect.results.wording import plural, printable
from etwdetect.sources.sysmon.recording import SysmonFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etwdetect.enrich.detection import Detection
    from etwdetect.enrich.kinds import Kinds
    from etwdetect.sources.sysmon import RecordingForm

_STATE, _CONFIGURATION, _ERROR = 4, 16, 255
_SAID: Final = {
    _STATE: "Sysmon says that it was started or stopped",
    _CONFIGURATION: "Sysmon got a configuration",
    _ERROR: "Sysmon reports an error",
}


class SysmonRecording:
    """The recording in *file*, which is seekable and called *name*; *fault* is what went wrong with it before.

    `records` counts its remote threads; `faults` what could not be read. All is complete when `detections` ends.
    """

    def __init__(
        self, file: IO[bytes], form: RecordingForm, name: str, fault: str | None = None, kinds: Kinds | None = None
    ) -> None:
        self.name = name
        self.stopped = False
        self._notices: dict[int, SysmonNotice] = {}
        """The first notice of each event id."""
        self._notice_counts: Counter[int] = Counter()
        self._file = SysmonFile(file, form)
        self._unpack_fault = fault
        self._enricher = SysmonEnricher(kinds)

    @property
    def records(self) -> int:
        """How many remote threads were read."""
        return len(self._enricher)

    @property
    def faults(self) -> int:
        """How many things could not be read."""
        return self._file.faults

    @property
    def events(self) -> int:
        """How many events of Sysmon were read that something is taken from."""
        return self._file.events

    @property
    def of_etwdetect(self) -> int:
        """How many remote threads etwdetect wrote, in Sysmon's form: another detector may have found them."""
        return self._file.of_etwdetect

    @property
    def span(self) -> tuple[int, int] | None:
        """The FILETIMEs of the first and the last of them."""
        return self._enricher.span

    def stop(self) -> None:
        """Have `detections` read no further; what was read is still yielded."""
        self.stopped = True

    def detections(self) -> Iterator[Detection]:
        """Read everything, then yield the detections in the order of time; once only. OSError as from a scan."""
        for record in self._file.records():
            if self.stopped:
                break
            self._enricher.observe(record)
            if isinstance(record, SysmonNotice):
                self._notices.setdefault(record.event_id, record)
                self._notice_counts[record.event_id] += 1
        if self._unpack_fault:
            self._file.add_fault(self._unpack_fault)
        yield from self._enricher.detections()

    def warnings(self) -> Iterator[str]:
        """Yield a line for each reason why not all was read, or why it shows nothing."""
        for described in self._file.described:
            yield printable(f"{self.name}: {described}")
        if self.faults > len(self._file.described):
            yield printable(f"{self.name}: {self.faults - len(self._file.described):,} more places can't be read")
        if self.stopped:
            yield printable(f"{self.name}: interrupted: what was not read by then is not in the result")
        elif not self.events and not self.faults:
            yield printable(f"{self.name}: has no event of Sysmon, so it can't show anything")
        if _ERROR in self._notices:
            yield from self._noticed(_ERROR)

    def notes(self) -> Iterator[str]:
        """Yield a line for each thing that is worth knowing."""
        for event_id in (_STATE, _CONFIGURATION):
            if event_id in self._notices:
                yield from self._noticed(event_id)
        if self.of_etwdetect:
            threads = plural(self.of_etwdetect, "remote thread")
            yield printable(
                f"{self.name}: {threads} written by etwdetect; the Detector is told as sysmon, whichever it was"
            )
        if self._enricher.forgotten:
            forgotten = f"{self._enricher.forgotten:,} processes are forgotten"
            yield printable(f"{self.name}: {forgotten}, with their command lines: there were too many")

    def closing(self, filtered_out: int) -> str:
        """Return the line that closes the reading."""
        hidden = f" ({filtered_out:,} filtered out)" if filtered_out else ""
        threads = plural(self.records, "remote thread")
        return printable(f"{self.name}: {threads}{hidden} in {plural(self.events, 'event')} of Sysmon")

    def _noticed(self, event_id: int) -> Iterator[str]:
        notice, count = self._notices[event_id], self._notice_counts[event_id]
        more = f", and {count - 1:,} more" if count > 1 else ""
        yield printable(f"{self.name}: {_SAID[event_id]}: {notice.text or 'it does not say more'}{more}")
