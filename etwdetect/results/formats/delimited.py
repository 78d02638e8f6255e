"""csv: a heading, and a row for each remote thread, with the fields of json as columns."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

from etwdetect.results.escape import cell
from etwdetect.results.fields import NAMES
from etwdetect.results.record import to_dict

if TYPE_CHECKING:
    from etwdetect.enrich.detection import Detection
    from etwdetect.results.stream import Stream


class CsvWriter:
    """Writes the *heading* at once, and each row in one call of the stream's write."""

    def __init__(self, stream: Stream, *, heading: bool = True) -> None:
        self._stream = stream
        self._table = csv.writer(stream, lineterminator="\n")
        if heading:
            self._table.writerow(NAMES)

    def write(self, detection: Detection) -> None:
        """Write one row."""
        self._table.writerow(cells(detection))

    def flush(self) -> None:
        """Flush the stream."""
        self._stream.flush()


def cells(detection: Detection) -> list[str]:
    """Return *detection* as the cells of a row; what is not known is empty."""
    known = to_dict(detection)
    return [cell(_text(known.get(name, ""))) for name in NAMES]


def _text(value: Any) -> str:  # noqa: ANN401 (any value that a record can have)
    match value:
        case [str(), *_]:
            return "; ".join(value)
        case list() | dict():
            return json.dumps(value) if value else ""
    return str(value)
