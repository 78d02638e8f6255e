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
from etwdetect.sources.sysmon import CHUNK_SIZE, EVTX_MAGIC
from etwdetect.sources.sysmon.records import EVENT_IDS, NO_GUID, time_of
from etwdetect.sources.sysmon.shapes import event_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from etwdetect.sources.sysmon.shapes import WindowsEvent

_CHUNK_MAGIC: Final = b"ElfChnk\0"
HEADER_SIZE: Final = 4096

_BATCH: Final = 32
_MOST_ERRORS: Final = 64
"""After how many errors the rest of a chunk is given up: it holds some hundred records."""

_ID: Final = '"EventID":'
_ID_SIZE: Final = len(_ID)
_PROVIDER: Final = "Microsoft-Windows-Sysmon"
_IMAGE: Final = "7"
_THREAD: Final = "8"
_ACCESS: Final = "10"
_TIME: Final = '"UtcTime":"'
_NEW_THREAD: Final = '"NewThreadId":'
_GUID_SIZE: Final = 36
_GUID_DASHES: Final = 4
_MOST_NAMED: Final = 200_000
_WANTED: Final = frozenset(str(number) for number in EVENT_IDS)


def _file_header(chunks: int) -> bytes:
    """Return the header of a file of *chunks*: 128 bytes with a checksum over the first 120, and padding."""
    fields = struct.pack("<8sQQQIHHHH76x", EVTX_MAGIC, 0, chunks - 1, 1, 128, 1, 3, HEADER_SIZE, chunks)
    return (fields + struct.pack("<II", 0, zlib.crc32(fields))).ljust(HEADER_SIZE, b"\0")


class UnparsedAccess(NamedTuple):
    """An event 10 as JSON, its time, and its host and the ProcessGuids of its source and its target."""

    time: int
    pair: tuple[str, str, str]
    text: str


class UnparsedThread(NamedTuple):
    """An event 8 as JSON; *same* is what is the same in repeats of it, which differ in time and new thread."""

    same: tuple[str, ...]
    time: str
    tid: str
    text: str


Unparsed = UnparsedAccess | UnparsedThread


def evtx_events(file: IO[bytes], fault: Callable[[str], None]) -> Iterator[tuple[str, WindowsEvent | Unparsed]]:
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
    named: set[str] = set()
    for place, number, text in _all_texts(file, fault):
        try:
            event = _event(number, text, named)
        except (ValueError, RecursionError) as error:
            fault(f"{place}: {error}")
        else:
            if event is not None:
                yield place, event
        if len(named) > _MOST_NAMED:
            named.clear()


def _all_texts(file: IO[bytes], fault: Callable[[str], None]) -> Iterator[tuple[str, str, str]]:
    """Yield the records in *file* that may be wanted: place, event id, and JSON."""
    batch = bytearray(HEADER_SIZE + CHUNK_SIZE * _BATCH)
    room, offset = memoryview(batch)[HEADER_SIZE:], HEADER_SIZE
    file.seek(offset)
    while size := _fill(room, file):
        texts = _thinned_texts(batch, size)
        if texts is None:
            file.seek(offset)
            size = _fill(room[:size], file)
            yield from _texts(bytes(room[:size]), offset, fault)
        else:
            yield from texts
        offset += size


def _event(number: str, text: str, named: set[str]) -> WindowsEvent | Unparsed | None:
    """Return the event in *text*, JSON with this event id; None for another event 7 of a process in *named*."""
    if number == _THREAD:
        return _thread(text) or event_in(json.loads(text))
    if number == _IMAGE:
        guid = _value(text, '"ProcessGuid":"')
        if guid in named:
            return None
        named.add(guid)
    elif number == _ACCESS:
        source, target = _value(text, '"SourceProcessGUID":"'), _value(text, '"TargetProcessGUID":"')
        host, time = _quoted(text, '"Computer":"'), _quoted(text, _TIME)
        if source and target and host and time and NO_GUID not in {source, target}:
            return UnparsedAccess(time_of(time), (host, source, target), text)
    return event_in(json.loads(text))


def _thread(text: str) -> UnparsedThread | None:
    """Return the event 8 in *text*; None unless its fields have the order in which Sysmon writes them.

    No string can hold the names that are looked for: a quotation mark in it would be escaped.
    """
    find = text.find
    created = find('"TimeCreated"')
    channel = find('"Channel"', created)
    time = find(_TIME, channel)
    source = find('"SourceProcessGuid"', time)
    thread = find(_NEW_THREAD, source)
    behind = find(",", thread)
    if not 0 <= created < channel < time < source < thread < behind:
        return None
    same = text[:created], text[channel:time], text[source:thread], text[behind:]
    time_begin = time + len(_TIME)
    return UnparsedThread(
        same, text[time_begin : find('"', time_begin)], text[thread + len(_NEW_THREAD) : behind], text
    )


def _fill(room: memoryview, file: IO[bytes]) -> int:
    """Read *file* into *room*, and return how much, less only at the end: it may return less at a time."""
    size = 0
    while data := file.read(len(room) - size):
        room[size : size + len(data)] = data
        size += len(data)
    return size


def _quoted(text: str, name: str) -> str:
    """Return the text behind *name* in *text*; empty where there is none, or where it has an escape."""
    begin = text.find(name) + len(name)
    value = text[begin : text.find('"', begin)] if begin >= len(name) else ""
    return "" if "\\" in value else value


def _value(text: str, name: str) -> str:
    """Return the GUID behind *name* in *text*; empty where there is none."""
    begin = text.find(name)
    guid = text[begin + len(name) : begin + len(name) + _GUID_SIZE] if begin >= 0 else ""
    return guid if guid.count("-") == _GUID_DASHES and '"' not in guid else ""


def _thinned_texts(batch: bytearray, size: int) -> list[tuple[str, str, str]] | None:
    """Return what `_texts` yields of the *size* bytes behind the header of *batch*, which become less.

    None where anything in it is not as it should be.
    """
    from etwdetect.sources.sysmon.chunks import thin  # noqa: PLC0415 (lazy import: it loads numpy)

    begins = range(HEADER_SIZE, HEADER_SIZE + size, CHUNK_SIZE)
    if size % CHUNK_SIZE or not all(batch.startswith(_CHUNK_MAGIC, begin) for begin in begins):
        return None
    errors: list[str] = []
    chunks = thin(batch, HEADER_SIZE, len(begins), EVENT_IDS)
    texts = [(f"record {record}", number, text) for record, number, text in _parsed(batch, chunks, errors.append)]
    return None if errors else texts


def _texts(data: bytes, offset: int, fault: Callable[[str], None]) -> Iterator[tuple[str, str, str]]:
    """Yield the records of the chunks in *data* that may be wanted: place, event id, and JSON."""
    for begin in range(0, len(data), CHUNK_SIZE):
        chunk, where = data[begin : begin + CHUNK_SIZE], f"chunk at offset {offset + begin:#x}"
        if len(chunk) < CHUNK_SIZE:
            fault(f"{where}: the file ends within it")
        if chunk.startswith(_CHUNK_MAGIC):
            say = partial(_say, fault, where)
            whole = bytearray(HEADER_SIZE) + chunk.ljust(CHUNK_SIZE, b"\0")
            for record, number, text in _parsed(whole, 1, say):
                yield f"record {record}, {where}", number, text
        elif chunk.strip(b"\0"):  # Windows allocates chunks before it fills them
            fault(f"{where}: it does not begin as a chunk does")


def _say(fault: Callable[[str], None], where: str, why: str) -> None:
    fault(f"{where}: {why}")


def _parsed(file: bytearray, chunks: int, fault: Callable[[str], None]) -> Iterator[tuple[int, str, str]]:
    """Yield number, event id and JSON of each record that may be wanted in the first *chunks* of *file*.

    Its header is written here.
    """
    from evtx import PyEvtxParser  # noqa: PLC0415 (an extra)

    if not chunks:
        return
    file[:HEADER_SIZE] = _file_header(chunks)
    source = io.BytesIO(memoryview(file)[: HEADER_SIZE + chunks * CHUNK_SIZE])
    errors = 0
    records: Any = None
    while errors < _MOST_ERRORS:
        try:
            if records is None:
                records = PyEvtxParser(source, number_of_threads=1, indent=False).records_json()
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
