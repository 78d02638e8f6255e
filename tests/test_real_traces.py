"""Recordings of real Windows machines. They are no part of the repository; where they are absent this is skipped.

The counts are those of the recordings' own README, made with an independent reader.
"""

import io
import itertools
import random
from pathlib import Path

import pytest

from etwdetect.core.errors import NotATraceError
from etwdetect.core.events import (
    ImageLoad,
    ImageUnload,
    ProcessRundown,
    ProcessStart,
    ProcessStop,
    ThreadStart,
    VolumeMapping,
)
from etwdetect.core.raw import KERNEL_PROCESS, PROCESS
from etwdetect.core.rule import RemoteThread
from etwdetect.enrich.enricher import Enricher
from etwdetect.offline import Scan
from etwdetect.sources.decode import Decoder
from etwdetect.sources.etl import walk
from etwdetect.sources.etl.reader import Trace
from etwdetect.sources.etl.walk import Wanted

TRACES = Path(__file__).resolve().parents[2] / "shared" / "traces"
FILES = sorted(TRACES.glob("*.etl"))

pytestmark = pytest.mark.skipif(not FILES, reason="the real traces are not in ../shared/traces")

PAYLOAD_TRACES = [
    pytest.param(f"process-payload-{bits}_v{version}.etl", version, id=f"{bits}-bit V{version}")
    for bits, version in ((32, 1), (32, 2), (32, 3), (64, 2), (64, 3))
]
each_trace = pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)


def scanned(data, name="real.etl"):
    scan = Scan([Trace(io.BytesIO(data), name)])
    return scan, list(scan.detections())


@pytest.fixture
def scan_of():
    def scan(name):
        return scanned((TRACES / name).read_bytes(), name)

    return scan


@each_trace
def test_a_real_trace_is_read_without_damage_to_its_end(path):
    scan, _ = scanned(path.read_bytes())
    result = scan.result()
    assert result.damages == 0
    assert scan.traces[0].bytes_read == path.stat().st_size
    assert result.events_read > 0


def test_server_2022_has_its_three_remote_threads_and_no_other(scan_of):
    scan, detections = scan_of("kernel-logger-server2022.etl")
    assert [(hit.thread.creator_pid, hit.thread.pid, hit.thread.tid) for hit in detections] == [
        (972, 7608, 8084),
        (972, 7876, 6132),
        (972, 5164, 11388),
    ]
    assert [(hit.source.image, hit.target.image) for hit in detections] == [
        ("csrss.exe", "Benchmarks.exe"),
        ("csrss.exe", "crank-agent.exe"),
        ("csrss.exe", "cmd.exe"),
    ]
    result = scan.result()
    assert result.thread_starts.remote == 3
    assert result.thread_starts.excluded == 11  # creator 4 ten times, target 4 once


def test_server_2022_has_the_events_of_its_readme(scan_of):
    scan, _ = scan_of("kernel-logger-server2022.etl")
    result = scan.result()
    counts = result.counts
    assert result.events_read == 28_693
    assert (counts["ThreadStart"], counts["ThreadStop"], counts["ThreadDCStart"]) == (96, 102, 1122)
    assert (counts["ProcessStart"], counts["ProcessStop"], counts["ProcessDCStart"]) == (2, 2, 98)


def test_windows_8_has_one_first_thread_and_none_remote(scan_of):
    scan, detections = scan_of("kernel-logger-win8.etl")
    assert detections == []
    result = scan.result()
    assert (result.thread_starts.first, result.thread_starts.excluded, result.thread_starts.seen) == (1, 1, 9)


def test_windows_8_has_the_events_of_its_readme(scan_of):
    scan, _ = scan_of("kernel-logger-win8.etl")
    result = scan.result()
    counts = result.counts
    assert result.events_read == 179_474
    assert (counts["ThreadStart"], counts["ThreadStop"], counts["ThreadDCStart"]) == (9, 15, 670)
    # One of each from the kernel logger, and one from Kernel-Process, which has extended items.
    assert (counts["ProcessStart"], counts["ProcessStop"], counts["ProcessDCStart"]) == (2, 2, 32)


def test_windows_7_has_four_first_threads_and_none_remote(scan_of):
    scan, detections = scan_of("kernel-process-win7.etl")
    assert detections == []
    result = scan.result()
    assert (result.thread_starts.first, result.thread_starts.own, result.thread_starts.seen) == (4, 283, 287)


def test_windows_7_has_the_events_of_its_readme(scan_of):
    scan, _ = scan_of("kernel-process-win7.etl")
    result = scan.result()
    counts = result.counts
    assert result.events_read == 10_344
    assert (counts["ThreadStart"], counts["ThreadStop"]) == (287, 264)
    assert (counts["ProcessStart"], counts["ProcessStop"]) == (4, 4)


def test_lost_events_are_counted(scan_of):
    scan, detections = scan_of("lost-events.etl")
    result = scan.result()
    assert (result.events_lost, result.counts.total(), detections) == (3, 0, [])


def test_a_trace_without_our_events_is_read_all_the_same(scan_of):
    scan, detections = scan_of("no-process-events.etl")
    result = scan.result()
    assert (result.events_read, result.counts.total(), detections) == (114, 0, [])


def test_a_32_bit_trace_of_two_events_has_two_events(scan_of):
    scan, _ = scan_of("tiny-32bit.etl")
    result = scan.result()
    assert (result.events_read, scan.traces[0].header.pointer_size) == (2, 4)


@pytest.mark.parametrize(("name", "version"), PAYLOAD_TRACES)
def test_the_process_of_every_payload_version_is_notepad(name, version):
    """Its classic full headers say 32 bit, whatever the payload's layout is."""
    complaints = []
    decoder = Decoder(lambda *complaint: complaints.append(complaint))
    with (TRACES / name).open("rb") as file:
        records = list(Trace(file, name).records(Wanted((), (PROCESS,))))
    events = [decoder.decode(record) for record in records]
    assert complaints == []
    assert {record.version for record in records} == {version}
    (start,) = [event for event in events if isinstance(event, ProcessStart)]
    (stop,) = [event for event in events if isinstance(event, ProcessStop)]
    command_line = None if version == 1 else '"C:\\Windows\\system32\\notepad.exe" '
    assert (start.pid, start.parent_pid, start.session_id, stop.pid) == (1776, 988, 1, 1776)
    assert (start.image, start.command_line) == ("notepad.exe", command_line)
    rundowns = [(event.pid, event.image) for event in events if isinstance(event, ProcessRundown)]
    assert rundowns == ([] if version == 1 else [(0, "Idle"), (4, "System"), (264, "smss.exe")] * 2)


@each_trace
def test_the_walk_in_step_and_by_single_steps_see_the_same(path, monkeypatch):
    every_hook = Wanted(range(1 << 16), (PROCESS,))
    found = []
    for wide in (1, 1 << 60):
        monkeypatch.setattr(walk, "WIDE", wide)
        with path.open("rb") as file:
            trace = Trace(file, path.name)
            found.append((sum(1 for _ in trace.records(every_hook)), trace.events_read, trace.damages.count))
    assert found[0] == found[1]


def test_the_order_of_a_file_is_not_the_order_of_time():
    path = TRACES / "kernel-process-win7.etl"
    with path.open("rb") as file:
        records = list(Trace(file, path.name).records(Wanted((), (KERNEL_PROCESS,))))
    times = [record.time for record in records if record.id in {1, 2, 3, 4}]
    assert sum(later < earlier for earlier, later in itertools.pairwise(times)) == 44


@each_trace
def test_a_real_trace_cut_anywhere_gives_what_came_before_and_says_that_it_is_cut(path):
    data = path.read_bytes()
    whole, _ = scanned(data)
    places = random.Random(path.name)
    for cut in [places.randrange(len(data)) for _ in range(10)]:
        try:
            scan, _ = scanned(data[:cut])
        except NotATraceError:
            continue
        result = scan.result()
        assert result.events_read <= whole.result().events_read
        assert scan.traces[0].bytes_read <= cut
        if result.damages == 0:
            # Only unused space is missing, or the cut lies between two buffers.
            assert cut in buffer_ends(data) or not any(data[cut:])


def buffer_ends(data):
    ends, at = set(), 0
    while at < len(data):
        at += int.from_bytes(data[at : at + 4], "little") or len(data)
        ends.add(at)
    return ends


@each_trace
def test_a_mutated_real_trace_is_read_to_its_end_or_is_no_trace(path):
    data = path.read_bytes()[:300_000]
    dice = random.Random(path.name)
    for _ in range(40):
        mutated = bytearray(data)
        for _ in range(dice.choice((1, 3, 30))):
            # Headers matter most: the file's first kilobyte, or anywhere.
            at = dice.randrange(min(len(data), dice.choice((1024, len(data)))))
            mutated[at : at + dice.choice((1, 1, 2, 4))] = dice.randbytes(dice.choice((1, 1, 2, 4)))
        try:
            scan, _ = scanned(bytes(mutated))
        except NotATraceError:
            continue
        assert scan.traces[0].bytes_read <= len(mutated)


# -- what is added to detections


def test_the_hits_of_the_server_are_named_and_have_a_kind(scan_of):
    _, hits = scan_of("kernel-logger-server2022.etl")
    assert {hit.host for hit in hits} == {"TECHEMP02"}
    assert {(hit.source.image, hit.source.user) for hit in hits} == {("csrss.exe", "NT AUTHORITY\\SYSTEM")}
    assert [hit.target.image for hit in hits] == ["Benchmarks.exe", "crank-agent.exe", "cmd.exe"]
    assert hits[0].target.parent_image == "crank-agent.exe"
    assert [(hit.kind, hit.severity) for hit in hits] == [("console control", "low")] * 3
    assert all("the trace does not tell of the target's images" in hit.reason for hit in hits)


@each_trace
def test_every_start_whose_image_is_in_the_trace_lies_in_it(path):
    """Not of remote threads alone: of these there are too few."""
    scan = Scan([Trace(io.BytesIO(path.read_bytes()), path.name)])
    enricher, images, starts, found = Enricher(), {}, [], []
    events = list(scan.events())
    for event in events:
        enricher.prescan(event)
    for event in events:
        found += enricher.take(event.time - 1)
        enricher.observe(event)
        if isinstance(event, ImageLoad | ImageUnload):
            images.setdefault(event.pid, []).append(event)
        elif isinstance(event, ThreadStart) and event.start_address:
            starts.append(event)
            enricher.add(RemoteThread(*event[:6]))
    found += enricher.take()
    for start, detection in zip(starts, found, strict=True):
        covering = [
            event.image
            for event in images.get(start.pid, ())
            if event.base <= start.start_address < event.base + event.size
        ]
        module = detection.start.module
        assert (module is not None) == bool(covering) or start.start_address >= 1 << 47
        if covering:
            assert module.rpartition("\\")[2] in {image.rpartition("\\")[2] for image in covering}


def test_the_drive_letters_of_a_real_trace_are_those_that_windows_gave_it():
    scan = Scan([Trace(io.BytesIO((TRACES / "kernel-logger-win8.etl").read_bytes()), "win8")])
    volumes = [(event.device, event.path) for event in scan.events() if isinstance(event, VolumeMapping)]
    assert ("\\Device\\HarddiskVolume2\\", "C:\\") in volumes
    assert ("\\SystemRoot\\", "C:\\Windows\\") in volumes
