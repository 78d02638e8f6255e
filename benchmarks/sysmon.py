"""Reading Sysmon's event 8 from .evtx: processor time and memory, beside the bare reader of the package evtx.

    python -m benchmarks.sysmon REAL.evtx [RECORDS]

REAL.evtx is a recording with two events 8 or more; its first chunk is filled with copies of one, ten of eleven
under the id of an event that nothing is taken from, and repeated until there are RECORDS (1,100,000 by default).
"""

from __future__ import annotations

import io
import json
import resource
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from evtx import PyEvtxParser

from etwdetect.offline.sysmon import SysmonRecording
from etwdetect.sources.sysmon import CHUNK_SIZE, RecordingForm
from etwdetect.sources.sysmon.evtx import HEADER_SIZE

_RECORD: Final = b"\x2a\x2a\0\0"
_FIRST_RECORD: Final = 512
_FREE_SPACE: Final = 48
"""Where a chunk's header has the offset of the space that no record has taken."""
_OTHER_ID: Final = 11
_EACH: Final = 11
_MOST_RATIO: Final = 1.5


def filled_chunk(file: bytes) -> tuple[bytes, int]:
    """Return the first chunk of *file*, filled, and the number of records in it."""
    chunk = file[HEADER_SIZE : HEADER_SIZE + CHUNK_SIZE]
    records, offset = [], _FIRST_RECORD
    while chunk[offset : offset + 4] == _RECORD:
        (size,) = struct.unpack_from("<I", chunk, offset + 4)
        records.append(chunk[offset : offset + size])
        offset += size
    kinds = ids(file[:HEADER_SIZE] + chunk)
    thread = records[max(number for number, kind in enumerate(kinds) if kind == 8)]
    other = next(
        other
        for other in renumbered(thread)
        if ids(with_records(file, chunk, [*records, other]))[-1:] == [_OTHER_ID]
    )
    threads = kinds.count(8)
    while offset + len(thread) <= CHUNK_SIZE:
        is_due = len(records) >= _EACH * threads
        threads += is_due
        records.append(thread if is_due else other)
        offset += len(thread)
    return with_records(file, chunk, records)[HEADER_SIZE:], len(records)


def renumbered(record: bytes) -> list[bytes]:
    """Return *record* with each number 8 of two bytes replaced by the other id: one of them is its event id."""
    places = [place for place in range(24, len(record) - 2) if record[place : place + 2] == b"\x08\0"]
    return [record[:place] + struct.pack("<H", _OTHER_ID) + record[place + 2 :] for place in places]


def with_records(file: bytes, chunk: bytes, records: list[bytes]) -> bytes:
    """Return a file with one chunk that has *records*, numbered from 1."""
    numbered = [each[:8] + struct.pack("<Q", number) + each[16:] for number, each in enumerate(records, 1)]
    made = bytearray((chunk[:_FIRST_RECORD] + b"".join(numbered)).ljust(CHUNK_SIZE, b"\0"))
    struct.pack_into("<QQQQ", made, 8, 1, len(records), 1, len(records))
    last = _FIRST_RECORD + sum(map(len, records[:-1]))
    struct.pack_into("<II", made, _FREE_SPACE - 4, last, last + len(records[-1]))
    return file[:HEADER_SIZE] + bytes(made)


def ids(file: bytes) -> list[int]:
    """Return the event ids that the package evtx finds in *file*; none where it fails."""
    try:
        records = list(PyEvtxParser(io.BytesIO(file)).records_json())
        return [json.loads(record["data"])["Event"]["System"]["EventID"] for record in records]
    except (RuntimeError, KeyError, TypeError):
        return []


def measured(reader: str, path: str) -> tuple[int, float, float]:
    """Return what *reader* counts in the file at *path*, its processor time, and the most memory it had, in MB."""
    command = [sys.executable, "-m", "benchmarks.sysmon", reader, path]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    count, seconds, memory = done.stdout.split()
    return int(count), float(seconds), float(memory)


def read(reader: str, path: str) -> None:
    """Read the file at *path*, and print what `measured` returns."""
    begun = time.process_time()
    if reader == "bare":
        count = sum(1 for _ in PyEvtxParser(path).records_json())
    else:
        with Path(path).open("rb") as file:
            count = sum(1 for _ in SysmonRecording(file, RecordingForm.EVTX, path).detections())
    seconds = time.process_time() - begun
    print(count, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000)


def main(real: str, records: int) -> None:
    """Make the file, and print what both readers need, in one run."""
    chunk, count = filled_chunk(Path(real).read_bytes())
    with tempfile.NamedTemporaryFile(suffix=".evtx") as file:
        file.write(Path(real).read_bytes()[:HEADER_SIZE])
        for _ in range(-(-records // count)):
            file.write(chunk)
        file.flush()
        print(f"{file.tell() / 1e6:,.0f} MB")
        bare, ours = (measured(reader, file.name) for reader in ("bare", "etwdetect"))
    print(f"evtx       {bare[0]:>9,} records         {bare[1]:6.1f} s  {bare[2]:6.0f} MB")
    print(f"etwdetect  {ours[0]:>9,} remote threads  {ours[1]:6.1f} s  {ours[2]:6.0f} MB")
    print(f"{ours[1] / bare[1]:.2f} times the time of evtx; at most {_MOST_RATIO} is wanted")


if __name__ == "__main__":
    if sys.argv[1] in {"bare", "etwdetect"}:
        read(sys.argv[1], sys.argv[2])
    else:
        main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1_100_000)
