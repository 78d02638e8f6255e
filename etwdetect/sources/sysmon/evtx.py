"""Events out of .evtx files, with the package evtx (an extra), some chunks of 64 KiB at a time.

They are parsed behind a file header of our own; where that fails, each chunk is parsed by itself. So memory is
bounded, a damaged chunk costs no other one, and its offset is known. Layout: https://github.com/libyal/libevtx/blob/main/documentation.
"""

from __future__ import annotations

import io
import json
import struct
import zlib
from functools import partial
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple

from etwdetect.core.errors import MissingExtraError
from etwdetect.sources.sysmon import EVTX_MAGIC
from etwdetect.sources.sysmon.records import EVENT_IDS
from etwdetect.sources.sysmon.shapes import event_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from etwdetect.sources.sysmon.shapes import WindowsEvent

HEADER_SIZE: Final = 4096
CHUNK_SIZE: Final = 65_536
CHUNK_MAGIC: Final = b"ElfChnk\0"

_BATCH: Final = 32
_MOST_ERRORS: Final = 64
"""After how many errors the rest of a chunk is given up: it holds some hundred records."""

_ID: Final = '"EventID":'
_ID_SIZE: Final = len(_ID)
_PROVIDER: Final = "Microsoft-Windows-Sysmon"
_IMAGE: Final = "7"
_ACCESS: Final = "10"
_GUID_SIZE: Final = 36
_GUID_DASHES: Final = 4
_MOST_NAMED: Final = 200_000
_WANTED: Final = frozenset(str(number) for number in EVENT_IDS)


def _file_header(chunks: int) -> bytes:
    """Return the header of a file of *chunks*: 128 bytes with a checksum over the first 120, and padding."""
    fields = struct.pack("<8sQQQIHHHH76x", EVTX_MAGIC, 0, chunks - 1, 1, 128, 1, 3, HEADER_SIZE, chunks)
    return (fields + struct.pack("<II", 0, zlib.crc32(fields))).ljust(HEADER_SIZE, b"\0")


class UnparsedAccess(NamedTuple):
    """An event 10 as JSON, and the ProcessGuids of its source and its target."""

    pair: tuple[str, str]
    text: str


def evtx_events(
    file: IO[bytes], fault: Callable[[str], None]
) -> Iterator[tuple[str, WindowsEvent | UnparsedAccess]]:
    """Yield the events of Sysmon that records can be made of, each with its place, in the order of *file*.

    What comes by the million is not parsed: events 10 are left as they are, and of the events 7 of a process only
    the first is taken, which names it.

    Calls *fault* with each reason for which something could not be read. Raises MissingExtraError without the
    package evtx.
    """
    try:
        import evtx  # noqa: F401, PLC0415 (an extra)
    except ImportError as error:
        raise MissingExtraError("reading .evtx files", "evtx", "evtx") from error
    offset = HEADER_SIZE
    file.seek(offset)
    named: set[str] = set()
    while data := _read(file, CHUNK_SIZE * _BATCH):
        if len(named) > _MOST_NAMED:
            named.clear()
        for place, number, text in _texts(data, offset, fault):
            try:
                event = _event(number, text, named)
            except (ValueError, RecursionError) as error:
                fault(f"{place}: {error}")
            else:
                if event is not None:
                    yield place, event
        offset += len(data)


def _event(number: str, text: str, named: set[str]) -> WindowsEvent | UnparsedAccess | None:
    """Return the event in *text*, JSON with this event id; None for another event 7 of a process in *named*."""
    if number == _IMAGE:
        guid = _value(text, '"ProcessGuid":"')
        if guid in named:
            return None
        named.add(guid)
    elif number == _ACCESS:
        source, target = _value(text, '"SourceProcessGUID":"'), _value(text, '"TargetProcessGUID":"')
        if source and target:
            return UnparsedAccess((source, target), text)
    return event_in(json.loads(text))


def _read(file: IO[bytes], size: int) -> bytes:
    """Read *size* bytes, fewer only at the end: an unbuffered file may return fewer at a time."""
    data = file.read(size)
    while data and len(data) < size and (more := file.read(size - len(data))):
        data += more
    return data


def _value(text: str, name: str) -> str:
    """Return the GUID behind *name* in *text*; empty where there is none."""
    begin = text.find(name)
    guid = text[begin + len(name) : begin + len(name) + _GUID_SIZE] if begin >= 0 else ""
    return guid if guid.count("-") == _GUID_DASHES and '"' not in guid else ""


def _texts(data: bytes, offset: int, fault: Callable[[str], None]) -> Iterator[tuple[str, str, str]]:
    """Yield the records of the chunks in *data* that may be wanted: place, event id, and JSON."""
    chunks = [(offset + at, data[at : at + CHUNK_SIZE]) for at in range(0, len(data), CHUNK_SIZE)]
    if all(len(chunk) == CHUNK_SIZE and chunk.startswith(CHUNK_MAGIC) for _, chunk in chunks):
        errors: list[str] = []
        texts = list(_parsed(data, len(chunks), errors.append))
        if not errors:
            yield from ((f"record {record}", number, text) for record, number, text in texts)
            return
    for at, chunk in chunks:
        where = f"chunk at offset {at:#x}"
        if len(chunk) < CHUNK_SIZE:
            fault(f"{where}: the file ends within it")
        if chunk.startswith(CHUNK_MAGIC):
            say = partial(_say, fault, where)
            for record, number, text in _parsed(chunk.ljust(CHUNK_SIZE, b"\0"), 1, say):
                yield f"record {record}, {where}", number, text
        elif chunk.strip(b"\0"):  # Windows allocates chunks before it fills them
            fault(f"{where}: it does not begin as a chunk does")


def _say(fault: Callable[[str], None], where: str, why: str) -> None:
    fault(f"{where}: {why}")


def _parsed(data: bytes, chunks: int, fault: Callable[[str], None]) -> Iterator[tuple[int, str, str]]:
    """Yield number, event id and JSON of each record in *data*, so many *chunks*, that may be wanted."""
    from evtx import PyEvtxParser  # noqa: PLC0415 (an extra)

    parser = PyEvtxParser(io.BytesIO(_file_header(chunks) + data), number_of_threads=min(chunks, 2), indent=False)
    errors = 0
    records: Any = None
    while errors < _MOST_ERRORS:
        try:
            records = parser.records_json() if records is None else records
            for record in records:  # most are passed over here, where each step counts
                text = record["data"]
                begin = text.find(_ID) + _ID_SIZE
                number = text[begin : text.find(",", begin)]
                if (number in _WANTED or number[:1] == "{") and _PROVIDER in text:
                    yield record["event_record_id"], number, text
        except (RuntimeError, ValueError) as error:
            errors += 1
            fault(" ".join(str(error).split()))
        except BaseException as error:
            if type(error).__name__ != "PanicException":  # of a library in Rust; it is no Exception
                raise
            fault(f"the package evtx fails: {error}")
            return
        else:
            return
    fault(f"the rest is not read, after {errors} errors")
