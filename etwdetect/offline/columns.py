"""The events of a large trace as rows: what neither the rule nor the enrichment will ask about is never decoded.

A row says all of a thread event. Of a process event it has what decides whether the event is needed; the record is
kept, and decoded when it is. Events that are rare or unusual are decoded at once, by `Decoder`.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from etwdetect.core import prefilter
from etwdetect.core.events import (
    SYSTEM_PID,
    Event,
    MachineName,
    ProcessRundown,
    ProcessStart,
    ProcessStop,
    ThreadRundown,
    ThreadStart,
    VolumeMapping,
)
from etwdetect.core.prefilter import PROCESS_RUNDOWN, PROCESS_START, PROCESS_STOP, THREAD_RUNDOWN, THREAD_START
from etwdetect.core.raw import KERNEL_PROCESS, THREAD
from etwdetect.offline import runs
from etwdetect.offline.runs import ROW, SortedRuns, key_of, keys_of, time_of
from etwdetect.offline.spilled import SpilledBytes
from etwdetect.sources.decode import Decoder
from etwdetect.sources.decode.columns import FIRST_OF_KERNEL_PROCESS, IMAGE, THREAD_STOP, decode_columns
from etwdetect.sources.etl import records
from etwdetect.sources.etl.headers import EVENT_HEADERS, read_headers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from etwdetect.core.raw import RawEvent
    from etwdetect.offline.reading import FileReading
    from etwdetect.offline.runs import Rows
    from etwdetect.sources.decode.columns import Decoded
    from etwdetect.sources.etl.clock import ClockConversion
    from etwdetect.sources.etl.headers import Flags, Headers, Numbers
    from etwdetect.sources.etl.reader import FoundRecords

OTHER: Final = 9
"""The code of an event that only the enrichment wants."""

CODES: Final[dict[type[Any], int]] = {
    ProcessStop: PROCESS_STOP,
    ProcessStart: PROCESS_START,
    ProcessRundown: PROCESS_RUNDOWN,
    ThreadRundown: THREAD_RUNDOWN,
    ThreadStart: THREAD_START,
    VolumeMapping: OTHER,
    MachineName: OTHER,
}
PROCESS_CODES: Final = (PROCESS_STOP, PROCESS_START, PROCESS_RUNDOWN)

_AT_ONCE: Final = 1 << 15
"""How many records are decoded at a time."""

_MOST_IN_MEMORY: Final = 8 << 20
_MOST_NAMES: Final = 4096
_SEEN_OF_NAME: Final = 64
"""By so many characters names are told apart; the volume is among them."""
_VOLUME_AT: Final = len("\\Device\\HarddiskVolume")
_WINDOWS: Final = len("\\Windows\\")

Row = tuple[int, int, int, int, int, int, int, int, bool, bool, bool, int]
"""A row of `runs.ROW`, in plain values."""


def are_of_one_source(found: FoundRecords) -> bool:
    """Whether all records of *found* seem to be of one provider: all classes of the kernel logger are one."""
    words = np.frombuffer(found.data, np.uint64)
    place = np.array(found.at, np.int64) >> 3
    start = words[place].view(np.uint8).reshape(-1, 8)
    is_event = np.isin(start[:, 2], EVENT_HEADERS)
    of_kernel_process = words[np.minimum(place[is_event] + 3, len(words) - 1)] == FIRST_OF_KERNEL_PROCESS
    return bool(is_event.all()) or not of_kernel_process.any()


class Columns:
    """The events of one trace, as rows that can be put in order as often as asked for.

    *clock* is that of the trace. *notice* is called with the name of each process, though not with each of many
    that begin alike, *prescan* with events that the enrichment must know ahead of time: of the processes that it
    will ask about, `Selection` does that.
    """

    def __init__(
        self,
        clock: ClockConversion,
        notice: Callable[[str | None], object],
        prescan: Callable[[Event], object],
    ) -> None:
        self._clock = clock
        self._notice = notice
        self._prescan = prescan
        self._runs = SortedRuns(runs.IN_MEMORY)
        self._records = _Records(_MOST_IN_MEMORY)
        self._decoder = Decoder(lambda *_: None)
        self._names: set[bytes] = set()
        self.longest = 0
        """The most characters that a process event has in its texts, or more."""

    def blocks(self) -> Iterator[Rows]:
        """Yield the rows in order, many at a time."""
        return self._runs.blocks()

    def events(self) -> Iterator[Event]:
        """Yield all events in order."""
        for block in self.blocks():
            yield from map(self.event, block.tolist())

    def event(self, row: Row) -> Event:
        """Return the whole event of *row*."""
        if row[2] < 0:
            return thread_event(row)
        raw = records.read(self._records.at(row[2]), 0, self._clock, 0)
        event = self._decoder.decode(raw)
        assert event is not None
        return event

    # -- reading

    def take(self, found: FoundRecords, reader: FileReading) -> None:
        """Take the records of one window; OSError where a temporary file can't be written."""
        for first in range(0, len(found.at), _AT_ONCE):
            self._take(found, np.array(found.at[first : first + _AT_ONCE], np.int64), reader)

    def _take(self, found: FoundRecords, at: Numbers, reader: FileReading) -> None:
        headers = read_headers(found.data, at, self._clock)
        decoded, left = decode_columns(found.data, headers, reader.decoder.counts)
        rows, kept = np.zeros(len(at), ROW), np.zeros(len(at), np.bool_)
        rows["place"] = -1
        images = np.zeros(len(at), np.bool_)
        for each in decoded:
            if each.code == IMAGE:
                images[each.rows] = True
            else:
                source = reader.sources.get(each.provider) or reader.source(each.provider)
                if each.code != THREAD_STOP:
                    _fill(rows, each, headers)
                    kept[each.rows] = True
                    time = headers.time[each.rows]
                    source.covers(int(time.min()), int(time.max()))
                    source.has_threads |= each.code == THREAD_START
        self._keep_records(found.data, headers, rows, decoded)
        raws = self._take_others(found, headers, left, images, rows, kept, reader)
        self._watch(found.data, headers, rows, kept, raws, reader)
        rows = rows[kept]
        self._find_pools(rows)
        self._runs.add(rows)

    def _keep_records(self, data: bytearray, headers: Headers, rows: Rows, decoded: list[Decoded]) -> None:
        """Keep the records of processes, in the order of the file, and look at the names."""
        of_processes = [each for each in decoded if each.name is not None]
        if not of_processes:
            return
        number = np.concatenate([each.rows for each in of_processes])
        name = np.concatenate([each.name for each in of_processes if each.name is not None])
        order = np.argsort(number)
        number, name = number[order], name[order]
        begin = headers.at[number]
        end = begin + headers.size[number]
        self.longest = max(self.longest, int((end - name).max()))
        is_path = rows["code"][number] != PROCESS_STOP
        places = []
        for at, until, name_at, looks in zip(
            begin.tolist(), end.tolist(), name.tolist(), is_path.tolist(), strict=True
        ):
            places.append(self._records.add(data[at:until]))
            if looks:
                seen = bytes(data[name_at : min(name_at + 2 * _SEEN_OF_NAME, until)])
                if seen not in self._names:
                    self._look_at(bytes(data[at:until]), seen)
        rows["place"][number] = places
        octets = np.frombuffer(data, np.uint8)
        rows["has_name"][number] = (octets[name] != 0) | (is_path & (octets[np.minimum(name + 1, end - 1)] != 0))

    def _look_at(self, record: bytes, seen: bytes) -> None:
        """Look at the name in the *record* of a process; *seen* is how it begins."""
        event = self._decoder.decode(records.read(record, 0, self._clock, 0))
        assert isinstance(event, ProcessStart | ProcessRundown)
        name = event.image or ""
        self._notice(name)
        volume_end = name.find("\\", _VOLUME_AT)
        if 0 <= volume_end < _SEEN_OF_NAME - _WINDOWS or len(name) < _SEEN_OF_NAME:
            if len(self._names) >= _MOST_NAMES:
                self._names.clear()
            self._names.add(seen)

    def _take_others(  # noqa: PLR0913, PLR0917 (columns)
        self,
        found: FoundRecords,
        headers: Headers,
        left: Flags,
        images: Flags,
        rows: Rows,
        kept: Flags,
        reader: FileReading,
    ) -> dict[int, RawEvent]:
        """Decode the records that are *left*, and put *images* aside, in the order of the file.

        Return the records of those that became rows, by number.
        """
        raws: dict[int, RawEvent] = {}
        data = found.data
        pictures = headers.at[images].tolist()
        put_aside = 0
        at = headers.at[left]
        numbers = dict(zip(at.tolist(), np.flatnonzero(left).tolist(), strict=True))
        for place, raw in found.parsed(at.tolist()):
            number = numbers[place]
            before = bisect_left(pictures, place)
            if before > put_aside:
                reader.keep_images(data, pictures[put_aside:before])
                put_aside = before
            event = reader.take(raw)
            if event is not None:
                if isinstance(event, (VolumeMapping, MachineName)):
                    self._prescan(event)
                elif isinstance(event, (ProcessStart, ProcessRundown)):
                    self._notice(event.image)
                raws[number] = raw
                rows[number] = self._row_of(event, self._records.add(_record(data, place)))
                kept[number] = True
        reader.keep_images(data, pictures[put_aside:])
        return raws

    def _row_of(self, event: Event, place: int) -> Row:
        """Return the row of an *event* whose record is kept at *place*."""
        code = CODES[type(event)]
        key = key_of(event.time, code)
        if isinstance(event, ThreadStart | ThreadRundown):
            creator = (event.creator_pid, event.creator_tid) if isinstance(event, ThreadStart) else (0, 0)
            address, start_key = event.start_address, event.creator_key if isinstance(event, ThreadStart) else None
            told = address is not None, False, start_key is not None, start_key or 0
            return key, address or 0, place, event.pid, event.tid, *creator, code, *told
        if isinstance(event, ProcessStart | ProcessStop | ProcessRundown):
            self.longest = max(self.longest, len(event.image or "") + len(event.command_line or ""))
            created = event.create_time
            named = created is not None, bool(event.image), False, 0
            return key, created or 0, place, event.pid, 0, event.parent_pid or 0, 0, code, *named
        return key, 0, place, 0, 0, 0, 0, code, False, False, False, 0

    def _watch(  # noqa: PLR0913, PLR0917 (columns)
        self,
        data: bytearray,
        headers: Headers,
        rows: Rows,
        kept: Flags,
        raws: dict[int, RawEvent],
        reader: FileReading,
    ) -> None:
        """Look at the starts that may be told twice, in the order of the file."""
        code = rows["code"]
        foreign = (code == THREAD_START) & (rows["creator_pid"] != rows["pid"])
        watched = np.flatnonzero(kept & (foreign | (code == PROCESS_START)))
        watch = reader.watch
        columns = (headers.body, headers.at + headers.size, headers.pid, headers.tid, headers.provider)
        of_row = (rows["key"], rows["pid"], foreign)
        for number, body, end, pid, tid, provider, key, of, is_thread in zip(
            watched.tolist(), *(each[watched].tolist() for each in (*columns, *of_row)), strict=True
        ):
            raw = raws.get(number)
            if raw is None:
                digest = hash((bytes(data[body:end]), KERNEL_PROCESS if provider else THREAD, pid, tid))
            else:
                digest = hash((raw.payload, raw.provider, raw.pid, raw.tid))
            (watch.thread if is_thread else watch.process)(digest, time_of(key), of)

    def _find_pools(self, rows: Rows) -> None:
        """Let the enrichment know where System starts threads, as `Enricher.prescan` of each of them would."""
        pools = rows[(rows["code"] == THREAD_START) & (rows["creator_pid"] == SYSTEM_PID) & rows["has_address"]]
        if len(pools):
            _, firsts = np.unique(pools[["address", "pid"]], return_index=True)
            for row in pools[np.sort(firsts)].tolist():
                self._prescan(thread_event(row))


class _Records(SpilledBytes):
    """Records of process events as they are in the trace, beyond a limit in a temporary file."""

    def add(self, record: bytes | bytearray) -> int:
        """Take a record; return its place. OSError where the temporary file can't be written."""
        place = self._in_file + len(self._buffer)
        self._buffer += record
        if len(self._buffer) >= self._limit:
            self._spill()
        return place

    def at(self, place: int) -> bytes:
        """Return the record at *place*."""
        if place >= self._in_file:
            return _record(self._buffer, place - self._in_file)
        head = self._read(place, records.START.size)
        return head + self._read(place + len(head), _size(head, 0) - len(head))


def _size(data: bytes | bytearray, at: int) -> int:
    """Return the size in bytes of the record at *at*."""
    size, marker, size_if_hooked, _ = records.START.unpack_from(data, at)
    return int(size_if_hooked if records.KINDS[marker] == records.Kind.HOOKED else size)


def _record(data: bytes | bytearray, at: int) -> bytes:
    return bytes(data[at : at + _size(data, at)])


def _fill(rows: Rows, decoded: Decoded, headers: Headers) -> None:
    """Set the rows of *decoded* events."""
    number = decoded.rows
    rows["key"][number] = keys_of(headers.time[number], decoded.code)
    rows["code"][number] = decoded.code
    rows["pid"][number] = decoded.pid
    if decoded.tid is not None:
        rows["tid"][number] = decoded.tid
    if decoded.address is not None:
        rows["address"][number] = decoded.address
        rows["has_address"][number] = True
    if decoded.code == THREAD_START:
        rows["creator_pid"][number] = headers.pid[number]
        rows["creator_tid"][number] = headers.tid[number]
        rows["creator_key"][number] = headers.start_key[number]
        rows["has_key"][number] = headers.has_key[number]
    elif decoded.parent is not None:
        rows["creator_pid"][number] = decoded.parent


def thread_event(row: Row) -> ThreadStart | ThreadRundown:
    """Return the thread event that *row* says all of."""
    key, address, _, pid, tid, creator_pid, creator_tid, code, has_address, _, has_key, creator_key = row
    start = address if has_address else None
    if code == THREAD_START:
        of_creator = creator_key if has_key else None
        return ThreadStart(time_of(key), creator_pid, creator_tid, pid, tid, start, None, of_creator)
    return ThreadRundown(time_of(key), pid, tid, start)


def event_for_rule(row: Row) -> Event:
    """Return the event of *row* with what the rule looks at."""
    key, created, _, pid, tid, _, _, code, has_created, *_ = row
    time = time_of(key)
    match code:
        case prefilter.THREAD_START:
            return thread_event(row)
        case prefilter.PROCESS_STOP:
            return ProcessStop(time, pid)
        case prefilter.PROCESS_START:
            return ProcessStart(time, 0, 0, pid)
        case prefilter.PROCESS_RUNDOWN:
            return ProcessRundown(time, pid, create_time=created if has_created else None)
        case prefilter.THREAD_RUNDOWN:
            return ThreadRundown(time, pid, tid)
        case _:
            return MachineName(time, "")
