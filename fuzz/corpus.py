"""Makes the inputs that fuzzing starts from: whole ones of each kind, and small ones that once broke something."""

from __future__ import annotations

import gzip
import io
import json
import struct
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape

from etwdetect.core.events import (
    ImageLoad,
    ImageUnload,
    Loss,
    MachineName,
    ProcessRundown,
    ProcessStart,
    ProcessStop,
    ThreadStart,
    VolumeMapping,
)
from etwdetect.results.formats.sysmon import event_data
from etwdetect.results.record import to_json
from etwdetect.sources.decode.encode import encode
from etwdetect.sources.etl import compression
from etwdetect.sources.etl.writer import TraceOptions, TraceWriter
from etwdetect.sources.eventdata.jsonl import JsonLinesWriter
from etwdetect.sources.eventdata.parquet import ParquetWriter
from etwdetect.sources.eventdata.schema import Recording, RecordingStart
from etwdetect.sources.sysmon import CHANNEL
from fuzz.targets import DETECTION
from tests.bytes_by_hand import ANCHOR, buffer, first_buffer, perfinfo_record, thread_start
from tests.sources.sysmon.evtx_by_hand import HEADER_SIZE, evtx

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from etwdetect.core.events import Event
    from etwdetect.core.raw import RawEvent
    from etwdetect.sources.eventdata.writer import EventWriter

ROOT: Final = Path(__file__).parent.parent

START: Final = 132_337_152_000_000_000
"""2020-05-12, 00:00 UTC."""
SECOND: Final = 10_000_000

EVENTS: Final[tuple[Event, ...]] = (
    ProcessRundown(START + 1, 100, 4, 1, START - 60 * SECOND, b"", "evil.exe", "evil /x"),
    ProcessRundown(START + 1, 200, create_time=START - 60 * SECOND, image="victim.exe"),
    VolumeMapping(START + 1, r"\Device\HarddiskVolume3", "C:"),
    MachineName(START + 1, "HOST1"),
    ImageLoad(START + 2, 200, 0x7FFC_0000_0000, 0x10_0000, 1, 2, r"\Device\HarddiskVolume3\a.dll", rundown=True),
    ProcessStart(START + 3 * SECOND, 100, 101, 300, 100, 1, START + 3 * SECOND, b"", "born.exe", "born"),
    ThreadStart(START + 3 * SECOND, 100, 101, 300, 301),
    ThreadStart(START + 10 * SECOND, 100, 101, 200, 201, 0x7FFC_0000_1000),
    ImageUnload(START + 11 * SECOND, 200, 0x7FFC_0000_0000, 0x10_0000),
    ProcessStop(START + 12 * SECOND, 300),
)  # fmt: skip


def _trace(events: Iterable[Event], method: int = 0, pointer_size: int = 8) -> bytes:
    file = io.BytesIO()
    options = TraceOptions(START, pointer_size=pointer_size, cpus=2, buffer_size=1024, method=method)
    with TraceWriter(file, options) as writer:
        for number, event in enumerate(events):
            with suppress(ValueError):  # no event of the provider
                writer.write(encode(event), cpu=number % 2)
    return file.getvalue()


def traces() -> Iterator[bytes]:
    """Yield traces of each compression, images to come, buffers without records, and cut ones."""
    for method in (0, compression.LZNT1, compression.XPRESS, compression.XPRESS_HUFFMAN):
        for pointer_size in (4, 8):
            yield _trace(EVENTS, method=method, pointer_size=pointer_size)
    whole = _trace(EVENTS)
    yield whole[:1024]
    yield whole[: len(whole) - 100]
    yield whole + struct.pack("<II", 72, 72) + whole[8:48] + struct.pack("<I", 72) + bytes(20)
    coming = (
        ImageUnload(START + 20 * SECOND, 200, 0x7000_0000 + 0x1000 * number, 0x1000, "b.dll")
        for number in range(20)
    )
    yield _trace((*EVENTS, *coming))
    yield _trace_with_stacks()
    for sample in sorted((ROOT / "samples").glob("*.etl")):
        yield sample.read_bytes()


def _trace_with_stacks() -> bytes:
    """Return a trace of the kernel logger whose thread start has a kernel part, and a user part by a key."""
    event, time = struct.pack("<qII", ANCHOR + SECOND, 10, 11), ANCHOR + SECOND + 50
    kernel, user = (
        struct.pack("<2Q", 0xFFFF << 48, (0xFFFF << 48) + 0x53),
        struct.pack("<2Q", 0x7FFC << 32, 0x1234),
    )
    key = struct.pack("<Q", 2)
    records = (
        thread_start((10, 11), 20, 21, time=ANCHOR + SECOND),  # type: ignore[no-untyped-call]
        perfinfo_record(0x1820, event + kernel, version=2, time=time),  # type: ignore[no-untyped-call]
        perfinfo_record(0x1826, event + key, version=2, time=time + 20),  # type: ignore[no-untyped-call]
        perfinfo_record(0x1824, key + user, version=2, time=time + 40),  # type: ignore[no-untyped-call]
    )
    return bytes(first_buffer() + buffer(*records))  # type: ignore[no-untyped-call]


def _encoded() -> Iterator[RawEvent]:
    for event in EVENTS:
        with suppress(ValueError):
            yield encode(event)


def decoded() -> Iterator[bytes]:
    """Yield the payloads of all kinds of events behind the head that the target takes."""
    for raw in _encoded():
        for number in range(8):
            for version in range(5):
                head = struct.pack(
                    "<BBBBBIIQ", number, raw.id & 0xFF, version, raw.opcode, raw.pointer_size == 8,
                    raw.pid & 0xFFFFFFFF, raw.tid & 0xFFFFFFFF, START,
                )  # fmt: skip
                yield head + raw.payload


def stack_pieces() -> Iterator[bytes]:
    """Yield the pieces of a stack: whole, by keys defined before or later, and with a part that comes alone."""
    kernel, user = (
        struct.pack("<2Q", 0xFFFF << 48, (0xFFFF << 48) + 0x53),
        struct.pack("<2Q", 0x7FFC << 32, 0x1234),
    )
    one, two = struct.pack("<Q", 1), struct.pack("<Q", 2)
    whole, by_keys = [(8, 0, 5, kernel + user)], [(8, 5, 5, one), (8, 6, 6, two), (0, 3, 7, one + kernel)]
    yield from map(_pieces, (whole, [*by_keys, (0, 4, 9, two + user)], [*by_keys, (0, 3, 1, two + user)]))
    for match in (0, 1):  # frames, then a key
        first = [(1, match * 2 + 1, 0, one + kernel)]
        yield _pieces([*first, (2, match * 2 + 1, 9, one + user), (0, 3, 10, kernel[:8] + user)])
    yield _pieces([(1, 1, 0, one + kernel * 100 + user * 200)])
    yield _pieces([(8, 0, 0, kernel + user), (8, 0, 0, user), (8, 6, 0, one)])


def _pieces(pieces: Iterable[tuple[int, int, int, bytes]]) -> bytes:
    return b"".join(struct.pack("<BBBH", *head, len(payload)) + payload for *head, payload in pieces)


def _rows(make: Callable[[io.BytesIO], EventWriter], recordings: int = 1) -> bytes:
    file = io.BytesIO()
    writer = make(file)
    for number in range(recordings):
        writer.begin(Recording("HOST1", f"boot-{number}"), RecordingStart(START, START, 8, START - SECOND))
        for event in (Loss(START, 1, 1), *EVENTS):
            writer.write(event)
    writer.close()
    return file.getvalue()


def _json_lines(recordings: int = 1) -> bytes:
    return _rows(lambda file: JsonLinesWriter(_Ascii(file)), recordings)


class _Ascii:
    def __init__(self, file: io.BytesIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        return self._file.write(text.encode("ascii"))


def event_lines() -> Iterator[bytes]:
    """Yield events as JSON lines without their first brace, also interleaved, and a time outside a calendar."""
    lines = _json_lines(3).splitlines(keepends=True)
    size = len(lines) // 3
    interleaved = b"".join(lines[number * size + at] for at in range(size) for number in range(3))
    late = _json_lines().replace(str(START + 10 * SECOND).encode(), b"3000000000000000000")
    for whole in (_json_lines(), interleaved, late, _json_lines()[:-20]):
        yield whole[1:]


def event_tables() -> Iterator[bytes]:
    """Yield events as Parquet, without the magic at the beginning."""
    for recordings in (1, 3):
        yield _rows(ParquetWriter, recordings)[4:]


def records() -> Iterator[bytes]:
    """Yield saved results in the encodings that are read."""
    line = to_json(DETECTION)
    yield (line + "\n").encode()
    yield (line + "\r\n" + line).encode("utf-16")
    yield b"\xef\xbb\xbf" + (line + "\nnothing\n" + line[:100]).encode()


def event_logs() -> Iterator[bytes]:
    """Yield chunks of .evtx without the zeros behind their records: alike events, and events of several kinds."""
    data = event_data(DETECTION)
    other = {"UtcTime": data["UtcTime"], "TargetFilename": "C:\\a.txt"}
    process = {"UtcTime": data["UtcTime"], "ProcessGuid": data["SourceProcessGuid"], "ProcessId": "7392"}
    for events in ([(8, data)], [(11, other)] * 9 + [(8, data)] * 2, [(5, process), (11, other), (8, data)]):
        yield evtx(events)[HEADER_SIZE:].rstrip(b"\0")  # type: ignore[no-untyped-call]


def sysmon_events() -> Iterator[bytes]:
    """Yield an event 8 of Sysmon in the forms that are read but .evtx, whose reader is not ours."""
    data = event_data(DETECTION)
    system = {"Provider": {"#attributes": {"Name": "Microsoft-Windows-Sysmon"}}, "EventID": 8, "Computer": "WS"}
    fields = {"winlog.event_id": ["8"], "winlog.channel": [CHANNEL], "process.pid": [1]}
    shapes = (
        data,
        {"EventID": "8", "Channel": CHANNEL, **data},
        {"Event": {"System": system, "EventData": data}},
        {"winlog": {"event_id": 8, "channel": CHANNEL, "event_data": data}},
        {"hits": {"hits": [{"fields": fields}]}},
    )
    yield "\n".join(map(json.dumps, shapes)).encode()
    yield json.dumps(shapes, indent=1).encode("utf-16")
    yield "".join(f"Record 1\n{json.dumps(shape, indent=1)}\n" for shape in shapes).encode()
    named = "".join(f'<Data Name="{name}">{escape(value)}</Data>' for name, value in data.items())
    channel = f"<EventID>8</EventID><Channel>{CHANNEL}</Channel>"
    yield f"<Events><Event><System>{channel}</System><EventData>{named}</EventData></Event></Events>".encode()


def packed() -> Iterator[bytes]:
    """Yield archives and what can be in them."""
    trace, lines, saved = _trace(EVENTS), _json_lines(), to_json(DETECTION).encode()
    yield from (trace, lines, saved, gzip.compress(trace), gzip.compress(lines), gzip.compress(trace)[:-30])
    for compress in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", compress) as archive:
            for name, content in (("a.etl", trace), ("b.json", saved), ("c.jsonl", lines), ("d.zip", b"PK\3\4")):
                archive.writestr(name, content)
        yield file.getvalue()
        yield file.getvalue().replace(b"b.json", b"a.etl\0").replace(b"c.jsonl", b"\xff.jsonl")
        yield file.getvalue()[:-22]


def images() -> Iterator[bytes]:
    """Yield the image files of the samples."""
    for file in sorted((ROOT / "samples" / "images").rglob("*")):
        if file.is_file():
            yield file.read_bytes()


def sigma_rules() -> Iterator[bytes]:
    """Yield rules with each kind of condition."""
    for condition in ("SourceImage|endswith: '\\a.exe'", "SourceImage|re: '.*[ab]\\.exe'", "TargetImage: null"):
        yield (
            "title: t\nlogsource:\n  product: windows\n  category: create_remote_thread\ndetection:\n"
            f"  one:\n    {condition}\n  two:\n    - x\n    - StartModule|contains: k\n"
            "  condition: one and not 1 of two*\n"
        ).encode()


def kind_rules() -> Iterator[bytes]:
    """Yield the rules that are built in."""
    yield (ROOT / "etwdetect" / "enrich" / "kinds.toml").read_bytes()
    yield b'[[rule]]\nname = "a"\nkind = "b {SourceImage}"\nwhen = { SourceImage = ["*\\\\a.exe", ""] }\n'


def scenario_files() -> Iterator[bytes]:
    """Yield the scenarios of the parity tests."""
    for file in sorted((ROOT / "parity_tests" / "scenarios").glob("*.toml")):
        yield file.read_bytes()


def windows() -> Iterator[bytes]:
    """Yield the records of traces, as the walk takes them."""
    for trace in traces():
        yield trace[72:]


def packed_bodies() -> Iterator[bytes]:
    """Yield data compressed in each way, behind its size."""
    body = _trace(EVENTS)[72:1024]
    for method in (compression.LZNT1, compression.XPRESS, compression.XPRESS_HUFFMAN):
        yield len(body).to_bytes(2, "little") + compression.compress(body, method)
    yield (40_000).to_bytes(2, "little") + compression.compress(bytes(40_000), compression.XPRESS)


SEEDS: Final[dict[str, Callable[[], Iterator[bytes]]]] = {
    "container": traces,
    "decoding": decoded,
    "stacks": stack_pieces,
    "events": event_lines,
    "parquet": event_tables,
    "saved": records,
    "sysmon": sysmon_events,
    "event-log": event_logs,
    "archives": packed,
    "pe": images,
    "sigma": sigma_rules,
    "kinds": kind_rules,
    "scenarios": scenario_files,
    "walks": windows,
    "xpress": packed_bodies,
    "trace-against-events": traces,
}
"""By target."""


def write(target: str, folder: Path) -> None:
    """Write what *target* starts from to *folder*, a file each."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(SEEDS[target]()):
        folder.joinpath(f"seed-{number:03}").write_bytes(data)
