"""Events out of .evtx files that the tests write: what is not wanted is taken out, and nothing else changes."""

import importlib
import io
import random
from collections import Counter

import pytest

from etwdetect.sources.sysmon import CHUNK_SIZE, RecordingForm
from etwdetect.sources.sysmon.recording import SysmonFile
from tests.sources.sysmon.events import ACCESS, MUTATIONS, START, THREAD, lines, reader
from tests.sources.sysmon.evtx_by_hand import HEADER_SIZE
from tests.sources.sysmon.evtx_by_hand import evtx as written

parser = pytest.importorskip("evtx").PyEvtxParser
pytest.importorskip("numpy")
chunks = importlib.import_module("etwdetect.sources.sysmon.chunks")

FILE = {"UtcTime": "2020-10-22 01:40:56.444", "TargetFilename": "C:\\a.txt"}
OTHER = 11, FILE


def numbered(count, every=7):
    """So many events, each seventh an event 8 with a new thread of its own."""
    for number in range(count):
        yield (8, THREAD | {"NewThreadId": str(number + 1)}) if number % every == 0 else OTHER


def read(data):
    file = SysmonFile(io.BytesIO(data), RecordingForm.EVTX)
    return list(file.records()), file


def thinned(data, wanted=(8,)):
    file = bytearray(data)
    count = chunks.thin(file, HEADER_SIZE, (len(data) - HEADER_SIZE) // CHUNK_SIZE, wanted)
    return bytes(file[: HEADER_SIZE + count * CHUNK_SIZE])


def texts(data):
    return {record["event_record_id"]: record["data"] for record in parser(io.BytesIO(data)).records_json()}


def test_events_are_read_as_from_the_json_of_the_same():
    events = [(1, START), (10, ACCESS), (8, THREAD), OTHER, (5, START), (7, START | {"ImageLoaded": "C:\\a.dll"})]
    records, file = read(written(events))
    json_file = SysmonFile(io.BytesIO(lines(*(reader(*event) for event in events))), RecordingForm.JSON)
    loaded = [record.load() if hasattr(record, "load") else record for record in records]
    assert loaded == list(json_file.records())
    assert (len(loaded), file.faults) == (5, 0)


def test_of_a_chunk_the_events_that_are_wanted_are_left_and_its_first():
    data = written(numbered(400, every=50))
    assert len(data) == HEADER_SIZE + 2 * CHUNK_SIZE
    whole, left = texts(data), texts(thinned(data))
    assert len(left) <= 8 + 2
    assert {number for number, text in whole.items() if '"EventID":8' in text} <= set(left)
    assert left.items() <= whole.items()


def test_chunks_without_an_event_that_is_wanted_go():
    data = written([OTHER] * 600 + [(8, THREAD)] + [OTHER] * 600)
    assert (len(data) - HEADER_SIZE) // CHUNK_SIZE == 3
    assert len(thinned(data)) == HEADER_SIZE + CHUNK_SIZE
    assert thinned(written([OTHER])) == written([OTHER])[:HEADER_SIZE]
    assert len(read(data)[0]) == 1


@pytest.mark.parametrize(
    "event_id",
    [b"\x0d\2\0\6", b"\x0d\3\0\4", b"\x05\1\2\0" + b"1\0" * 2, b"\x0d\3\0\6\x0d\2\0\6"],
    ids=["another value", "of another type", "a text", "two values"],
)
def test_a_chunk_whose_template_is_another_stays_as_it_is(event_id):
    data = written(numbered(20), event_id=event_id)
    assert thinned(data) == data


@pytest.mark.parametrize("offset", [48, 512, 516, 512 + 24, 512 + 34])
def test_a_chunk_that_is_not_as_windows_writes_it_stays_as_it_is(offset):
    data = bytearray(written(numbered(20)))
    data[HEADER_SIZE + offset] ^= 0xFF
    assert thinned(data) == data


def test_what_looks_like_a_record_within_one_hides_no_event():
    data = written([*numbered(20), (OTHER[0], FILE | {"TargetFilename": "\u2a2a\0" * 8})])
    assert thinned(data) == data
    assert len(read(data)[0]) == 3


def mutated(data, chance):
    data = bytearray(data)
    for _ in range(chance.randint(1, 12)):
        at = chance.randrange(HEADER_SIZE, min(HEADER_SIZE + 20_000, len(data)))
        data[at] = chance.choice((chance.randrange(256), data[at] ^ 1 << chance.randrange(8), 0, 0xFF))
    if chance.random() < 0.1:
        del data[chance.randrange(len(data)) :]
    return bytes(data)


def test_of_a_mutated_file_no_record_is_missing_that_is_found_among_all_its_events(monkeypatch):
    """More are found where what is damaged is not wanted: it would end the reading of its chunk."""
    chance = random.Random(8)
    wholes = [written([*numbered(90), (1, START), (10, ACCESS)]), written([OTHER] * 100 + [(8, THREAD)] * 3)]
    for number in range(MUTATIONS):
        data = mutated(wholes[number % len(wholes)], chance)
        records, file = read(data)
        assert file.faults <= 200
        with monkeypatch.context() as patch:
            patch.setattr(chunks, "thin", lambda _data, _begin, count, _wanted: count)
            all_records, _ = read(data)
        assert Counter(map(plain, all_records)) <= Counter(map(plain, records))


def plain(record):
    return record.load() if hasattr(record, "load") else record
