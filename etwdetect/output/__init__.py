"""How remote threads are written down: one line each, in a choice of formats."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Final

from etwdetect.output import record, text, times

if TYPE_CHECKING:
    from datetime import datetime
    from typing import TextIO

    from etwdetect.enrich.detection import Detection

FORMATS: Final = ("text", "classic", "json", "csv")


class Writer:
    """Writes detections to *stream*, one line each, in one of FORMATS.

    In text and classic, times are in the reader's time zone or *in_utc*; with *dates* the text format puts the
    date before each time. Each line is one call of the stream's write.
    """

    def __init__(self, stream: TextIO, form: str, *, in_utc: bool = False, dates: bool = False) -> None:
        self._stream = stream
        self._in_utc = in_utc
        self.dates = dates
        self._line = {"text": self._text, "classic": self._classic, "json": record.to_json}.get(form)
        self._table = csv.writer(stream, lineterminator="\n")
        if self._line is None:
            self._table.writerow(record.FIELDS)

    def write(self, detection: Detection) -> None:
        """Write one detection."""
        if self._line is None:
            self._table.writerow(record.cells(detection))
        else:
            self._stream.write(self._line(detection) + "\n")

    def moment(self, filetime: int) -> datetime:
        """Return the time of *filetime* as text and classic show it."""
        return times.utc(filetime) if self._in_utc else times.local(filetime)

    def _text(self, detection: Detection) -> str:
        moment = self.moment(detection.thread.time)
        return text.text_line(detection, (times.full_time if self.dates else times.clock_time)(moment))

    def _classic(self, detection: Detection) -> str:
        return text.classic_line(detection.thread, times.clock_time(self.moment(detection.thread.time)))
