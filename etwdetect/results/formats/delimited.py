"""csv: a heading, and a row for each remote thread, with the fields of json as columns.

What people do with it first is to open it in a spreadsheet. So it begins with a byte order mark, without which
Excel takes UTF-8 for a code page, and no cell is a number of more than 15 digits, which is all that it keeps.
"""

from __future__ import annotations

import csv
import json
import re
from typing import TYPE_CHECKING, Any, Final

from etwdetect.core import filetime
from etwdetect.results.escape import cell
from etwdetect.results.fields import FIELDS, NAMES, FieldType
from etwdetect.results.record import to_dict

if TYPE_CHECKING:
    from etwdetect.enrich.detection import Detection
    from etwdetect.results.fields import RecordField
    from etwdetect.results.stream import Stream


_BYTE_ORDER_MARK: Final = "\ufeff"

_NUMBER: Final = re.compile(r"[0-9][0-9.,]*(?:e\+?[0-9]+)?", re.IGNORECASE)
"""Text that a spreadsheet takes for a number, so that it shows fewer digits, or none of its zeros."""


class CsvWriter:
    """Writes the *heading* at once, and each row in one call of the stream's write."""

    def __init__(self, stream: Stream, *, heading: bool = True) -> None:
        self._stream = stream
        self._table = csv.writer(stream, lineterminator="\n")
        if heading:
            stream.write(_mark(stream) + ",".join(NAMES) + "\n")

    def write(self, detection: Detection) -> None:
        """Write one row."""
        self._table.writerow(cells(detection))

    def flush(self) -> None:
        """Flush the stream."""
        self._stream.flush()


def _mark(stream: Stream) -> str:
    """Return the byte order mark, if the stream is in UTF-8 or UTF-16, as all are but some consoles."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return _BYTE_ORDER_MARK if encoding.lower().startswith("utf") else ""


def cells(detection: Detection) -> list[str]:
    """Return *detection* as the cells of a row; what is not known is empty."""
    known = to_dict(detection)
    return [_cell(field, known[field.name]) if field.name in known else "" for field in FIELDS]


def _cell(field: RecordField, value: Any) -> str:  # noqa: ANN401 (any value that a record can have)
    match field.type:
        case FieldType.NUMBER:
            return str(value)
        case FieldType.FILETIME:
            return filetime.precise_time(int(value)) or f"'{value}"
        case FieldType.TEXTS:
            return cell("; ".join(value))
        case FieldType.TEXT:
            text = _windbg(value) if field.name == "StartAddress" else cell(value)
            return f"'{text}" if _NUMBER.fullmatch(text) else text
    return cell(json.dumps(value))


def _windbg(address: str) -> str:
    """Return *address* as WinDbg shows it: tools that guess types take ``0x…`` for a number, and may drop digits.

    >>> _windbg("0x77001ABC")
    '0x00000000`77001ABC'
    """
    digits = address.removeprefix("0x").zfill(16)
    return f"0x{digits[:8]}`{digits[8:]}"
