"""Damaged traces: whatever the bytes, a scan ends, says where, and keeps what it read before.

ETWDETECT_MUTATIONS sets how many mutated traces are tried (400 without it).
"""

import io
import os
import random
from pathlib import Path

import pytest

from etwdetect.core.errors import NotATraceError
from etwdetect.offline import Scan, summary
from etwdetect.sources.etl import compression
from etwdetect.sources.etl.reader import Trace
from tests.traces_by_writer import SECOND, START, attack, program_start, write_trace

MUTATIONS = int(os.environ.get("ETWDETECT_MUTATIONS", "400"))
SAMPLES = Path(__file__).parent.parent / "samples"
LARGEST_MUTATED = 250_000


def outcome(data):
    """Scan *data*; return how many remote threads it has and whether it is damaged, or None if it is no trace."""
    try:
        scan = Scan([Trace(io.BytesIO(data), "hostile.etl")])
    except NotATraceError:
        return None
    found = sum(1 for _ in scan.detections())
    result = scan.result()
    lines = [*summary.warnings(result), *summary.notes(result), *summary.stats(result), summary.closing(result, 0)]
    assert all(line.isprintable() for line in lines)
    return found, result.damages > 0


def mutated(data, chance):
    for _ in range(chance.choice((1, 2, 5, 20))):
        at = chance.randrange(len(data) if chance.random() < 0.5 else min(len(data), 2048))
        match chance.randrange(5):
            case 0:
                data[at] = chance.randrange(256)
            case 1:
                data[at : at + 8] = chance.choice((bytes(8), b"\xff" * 8, chance.randbytes(8)))
            case 2:
                del data[at : at + chance.randrange(1, 64)]
            case 3:
                data[at:at] = chance.randbytes(chance.randrange(1, 64))
            case 4:
                data[at : at + 2] = chance.choice((0, 1, 8, 72, 0x7FFF, 0xFFFF)).to_bytes(2, "little")
    return bytes(data)


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """Traces of every kind that the writer makes, the samples, and the smaller recordings if they are here."""
    folder = tmp_path_factory.mktemp("originals")
    events = [*attack(), *program_start(START + 20 * SECOND, 300, 301)] * 20
    for method in (0, compression.LZNT1, compression.XPRESS, compression.XPRESS_HUFFMAN):
        for pointer_size in (4, 8):
            name = f"{method}-{pointer_size}.etl"
            write_trace(folder / name, events, cpus=3, method=method, pointer_size=pointer_size, buffer_size=4096)
    recordings = Path(__file__).parents[2] / "shared" / "traces"
    files = [*sorted(folder.iterdir()), *sorted(SAMPLES.glob("*.etl")), *sorted(recordings.glob("*.etl"))]
    return [file.read_bytes() for file in files if file.stat().st_size < LARGEST_MUTATED]


def test_a_mutated_trace_never_breaks_the_scan(originals):
    chance = random.Random(20261123)
    outcomes = [outcome(mutated(bytearray(chance.choice(originals)), chance)) for _ in range(MUTATIONS)]
    damaged = sum(1 for each in outcomes if each and each[1])
    assert damaged > MUTATIONS / 10, "the mutations hit what matters"


def test_a_trace_cut_anywhere_is_damaged_or_no_trace(originals):
    chance = random.Random(1)
    for original in originals:
        whole = outcome(original)
        for _ in range(10):
            cut = outcome(original[: chance.randrange(len(original) - 1)])
            assert cut is None or cut[0] <= whole[0]


def buffer_edges(data):
    edges, at = set(), 0
    while at < len(data):
        edges.add(at)
        at += int.from_bytes(data[at : at + 4], "little")
    return edges


@pytest.mark.slow
def test_every_recording_cut_at_200_places_ends_in_a_message(recordings):
    chance = random.Random(2)
    for file in sorted(recordings.glob("*.etl")):
        data = file.read_bytes()
        edges = buffer_edges(data)
        for _ in range(200 if MUTATIONS > 400 else 10):
            end = chance.randrange(len(data))
            cut = outcome(data[:end])
            assert cut is None or cut[1] or end in edges


def test_a_file_that_is_cut_while_it_is_read_keeps_what_was_read(tmp_path):
    path = write_trace(tmp_path / "a.etl", attack(), cpus=3, buffer_size=4096)
    with path.open("r+b", buffering=0) as file:
        scan = Scan([Trace(file, "a.etl")])
        file.truncate(3 * 4096)
        assert list(scan.detections()) == []
        result = scan.result()
        assert result.damages == 1
        assert result.events_read == 3


def test_ten_thousand_damaged_places_are_counted_and_the_first_described(tmp_path):
    path = write_trace(tmp_path / "a.etl", attack(), buffer_size=4096)
    bad_buffer = path.read_bytes()[4096:8192].replace(b"\x13\xc0", b"\x7f\xc0", 1)
    with path.open("ab") as file:
        for _ in range(10_000):
            file.write(bad_buffer)
    scan = Scan([Trace(io.BytesIO(path.read_bytes()), "a.etl")])
    assert len(list(scan.detections())) == 1
    result = scan.result()
    assert result.damages == 10_000
    warnings = list(summary.warnings(result))
    assert warnings[0].startswith("a.etl: offset 0x2048: no record type has the marker 0xc07f")
    assert "a.etl: 9,990 more places are damaged" in warnings
