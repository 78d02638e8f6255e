"""The fuzz targets: each takes any bytes, and raises where something does not hold that must hold for all bytes.

They need nothing but the package: the tests call each with its corpus.
"""

from __future__ import annotations

import io
import tempfile
from collections import Counter
from contextlib import suppress
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final
from unittest.mock import patch

from etwdetect.core.errors import NotATraceError, RuleFileError
from etwdetect.core.raw import KERNEL_PROCESS, LOST_EVENTS
from etwdetect.core.rule import RemoteThread
from etwdetect.core.sysmon import DeferredAccess
from etwdetect.enrich import exports, kind_rules
from etwdetect.enrich.detection import Detection, Process, Start
from etwdetect.enrich.kinds import Kinds
from etwdetect.offline import Scan, inputs, summary
from etwdetect.offline.sysmon import SysmonRecording
from etwdetect.results.clock import Clock
from etwdetect.results.formats import FORMATS, needs_a_file
from etwdetect.results.record import from_json, to_dict, to_json
from etwdetect.results.saved import SavedResults
from etwdetect.results.sigma.errors import SigmaError
from etwdetect.results.sigma.rules import RuleSet
from etwdetect.results.writers import stream_writer
from etwdetect.sources import archive, unpacking  # noqa: F401 (instrumented: it is imported late otherwise)
from etwdetect.sources.etl import compression, walk, xpress
from etwdetect.sources.etl.reader import Trace
from etwdetect.sources.etl.walk import Span, Wanted
from etwdetect.sources.eventdata import parquet, trace  # noqa: F401
from etwdetect.sources.eventdata.jsonl import JsonLinesWriter
from etwdetect.sources.eventdata.schema import Recording, RecordingStart
from etwdetect.sources.sysmon import CHUNK_SIZE, RecordingForm, chunks, evtx, recording_form
from etwdetect.sources.sysmon.recording import SysmonFile
from fuzz.event_targets import decoding, stacks
from parity_tests import loading
from parity_tests.errors import ScenarioError

if TYPE_CHECKING:
    from collections.abc import Callable


MOST_BYTES: Final = 1 << 16
"""The largest input that a target is given: larger ones are slow and show nothing else."""


# -- the container


def container(data: bytes) -> None:
    """Scan a trace: it ends, and each line about it is printable."""
    with suppress(NotATraceError):
        _scan(Scan([Trace(io.BytesIO(data), "fuzz.etl")]))


def _scan(scan: Scan) -> list[Detection]:
    found = list(scan.detections())
    _show(found)
    result = scan.result()
    for line in (*summary.warnings(result), *summary.notes(result), *summary.stats(result)):
        assert line.isprintable(), line
    assert summary.closing(result, 0).isprintable()
    return found


def _show(detections: list[Detection]) -> None:
    """Write *detections* in every format; what json has is read again to the same."""
    for name in FORMATS:
        if not needs_a_file(name):
            stream = io.StringIO()
            writer = stream_writer(stream, name, Clock(in_utc=True))
            for detection in detections:
                writer.write(detection)
            assert stream.getvalue().count("\n") == len(detections) + (name == "csv"), f"a line each in {name}"
    for detection in detections:
        line = to_json(detection)
        assert to_json(from_json(line)) == line


# -- events as data, saved results, inputs


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="etwdetect-fuzz-"))


def _file(name: str, data: bytes) -> Path:
    path = _folder() / name
    path.write_bytes(data)
    return path


def _read_all(path: Path) -> None:
    with suppress(NotATraceError):
        for found in islice(inputs.find_all(path), 20):
            with suppress(NotATraceError), found.open() as opened:
                if isinstance(opened, SavedResults):
                    _saved(opened)
                elif isinstance(opened, SysmonRecording):
                    _sysmon(opened)
                else:
                    _scan(Scan([opened]))


def events(data: bytes) -> None:
    """Read events as JSON lines and scan them."""
    _read_all(_file("events.jsonl", b"{" + data))


def parquet_events(data: bytes) -> None:
    """Read events from Parquet and scan them."""
    _read_all(_file("events.parquet", b"PAR1" + data))


def saved(data: bytes) -> None:
    """Read saved results; each record is written again in every format."""
    _saved(SavedResults(io.BytesIO(data), "fuzz.json"))


def _saved(results: SavedResults) -> None:
    _show(list(results.detections()))
    assert all(line.isprintable() for line in (*results.warnings(), results.closing(0)))


def sysmon(data: bytes) -> None:
    """Read what Sysmon recorded, in whatever form it seems to be; each record is written in every format."""
    form = recording_form(data)
    if form is not None:
        _sysmon(SysmonRecording(io.BytesIO(data), form, "fuzz.json"))


def _sysmon(recording: SysmonRecording) -> None:
    _show(list(recording.detections()))
    assert all(line.isprintable() for line in (*recording.warnings(), *recording.notes(), recording.closing(0)))


def event_log(data: bytes) -> None:
    """Read a chunk of .evtx: of its records none is missing that is found where nothing is passed over."""
    file = bytes(evtx.HEADER_SIZE) + data[:CHUNK_SIZE].ljust(CHUNK_SIZE, b"\0")
    records = _records(file)
    with patch.object(chunks, "thin", lambda _data, _begin, count, _wanted: count):
        all_records = _records(file)
    assert all_records <= records


def _records(file: bytes) -> Counter[object]:
    found = SysmonFile(io.BytesIO(file), RecordingForm.EVTX).records()
    return Counter(each.load() if isinstance(each, DeferredAccess) else each for each in found)


def archives(data: bytes) -> None:
    """Find and read the inputs in a file that may be anything: a .zip, a .gz, a trace, saved results."""
    _read_all(_file("input", data))


# -- files of the user


def pe(data: bytes) -> None:
    """Read the build and the exports of an image file."""
    path = _file("image.dll", data)
    for read in (exports.read_build, exports.read_exports, exports.read_debug_id):
        with suppress(exports.BrokenImageError):
            read(path)


def sigma(data: bytes) -> None:
    """Load a Sigma rule and match it against a record."""
    with suppress(SigmaError):
        rules = RuleSet([_file("rule.yml", b"# create_remote_thread\n" + data)])
        rules.fired([to_dict(DETECTION)])


def kinds(data: bytes) -> None:
    """Load rules for kinds, and judge a record by them."""
    with suppress(RuleFileError):
        loaded = Kinds(kind_rules.load(_file("kinds.toml", data)))
        _show([loaded.classify(DETECTION)])


DETECTION: Final = Detection(
    RemoteThread(132337624952800000, 7392, 4788, 8336, 9384, 0x7FFC6E27D3F0),
    "etw",
    Process(7392, "C:\\a.exe", "a", 1, "C:\\p.exe", "p", "LAB\\u", 1, 132337624000000000),
    Process(8336, "C:\\b.exe"),
    Start("C:\\Windows\\System32\\ntdll.dll", 0xCD3F0, "DbgUiRemoteBreakin"),
)


def scenarios(data: bytes) -> None:
    """Load a scenario and expand it."""
    with suppress(UnicodeDecodeError, ScenarioError):
        loading.parse(data.decode(), "fuzz")


# -- differential


def walks(data: bytes) -> None:
    """Walk buffers in step and one by one: the records found are the same."""
    size = max(len(data) // walk.WIDE, 1) + 7 & -8
    data = data.ljust(size * walk.WIDE, b"\xff")
    window = bytearray(data[: size * walk.WIDE])
    spans = [Span(at, at + size) for at in range(0, len(window), size)]
    wanted = Wanted(range(0, 1 << 16, 3), (KERNEL_PROCESS, LOST_EVENTS), range(1, 1 << 16, 3))
    single = walk.Walk()
    for span in spans:
        walk._walk_one(window, span, wanted, single)  # noqa: SLF001 (the two ways are not public)
    stepped = walk.walk(window, spans, wanted)
    for each in ("found", "aside", "broken"):
        assert getattr(stepped, each) == sorted(getattr(single, each)), each
    assert stepped.records == single.records


def xpress_decoders(data: bytes) -> None:
    """Decompress with libfwnt and with our own: where both succeed they agree, and ours does what libfwnt does."""
    import pyfwnt  # noqa: PLC0415 (only here)

    if len(data) < 2:
        return
    size, packed = int.from_bytes(data[:2], "little"), data[2:]
    try:
        theirs = pyfwnt.lzxpress_decompress(packed, size)
    except OSError:
        theirs = None
    try:
        ours = xpress.decompress(packed, size)
    except ValueError:
        ours = None
    if theirs is not None and ours is not None and len(theirs) == size:
        assert theirs == ours
    for method in (compression.LZNT1, compression.XPRESS, compression.XPRESS_HUFFMAN):
        assert compression.decompress(compression.compress(data, method), len(data), method) == data
        with suppress(ValueError):
            compression.decompress(packed, size, method)


def trace_against_events(data: bytes) -> None:
    """Scan a trace, and the events that `etwdetect events` would write of it: the same remote threads."""
    try:
        found = [detection.thread for detection in _trace(data).detections()]
        recording = list(_trace(data).recording())
    except NotATraceError:
        return
    stream = io.StringIO()
    writer = JsonLinesWriter(stream)
    for event in recording:
        if isinstance(event, RecordingStart):
            writer.begin(Recording("host", "name"), event)
        else:
            writer.write(event)
    path = _file("scanned.jsonl", stream.getvalue().encode("ascii"))
    again: list[RemoteThread] = []
    for each in inputs.find_inputs(path):
        with each.open() as opened:
            scan = Scan([opened])
            again += [detection.thread for detection in scan.detections()]
            assert not scan.result().damages, "all rows are read"
    assert [thread._replace(evidence=()) for thread in again] == [thread._replace(evidence=()) for thread in found]


def _trace(data: bytes) -> Scan:
    return Scan([Trace(io.BytesIO(data), "fuzz.etl")])


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    "container": container,
    "decoding": decoding,
    "stacks": stacks,
    "events": events,
    "parquet": parquet_events,
    "saved": saved,
    "sysmon": sysmon,
    "event-log": event_log,
    "archives": archives,
    "pe": pe,
    "sigma": sigma,
    "kinds": kinds,
    "scenarios": scenarios,
    "walks": walks,
    "xpress": xpress_decoders,
    "trace-against-events": trace_against_events,
}
"""By name."""
