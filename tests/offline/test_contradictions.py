"""A recording that contradicts itself says so: a line for each kind, and evidence on the hits that it touches."""

import io
import json

import pytest

from etwdetect.core.events import ProcessRundown, ProcessStart, ProcessStop, ThreadStart
from etwdetect.offline import Scan, doubles
from etwdetect.sources.decode.encode import encode
from etwdetect.sources.etl.reader import Trace
from tests.offline.test_doubles import by_kernel_logger, encoded, trace
from tests.offline.test_names import FOLDER, HIT, INJECTOR, SYSTEM32, TARGET, Machine
from tests.offline.test_whole_or_told import buffers_of
from tests.traces_by_writer import SECOND, START, program_start

T = START + 10 * SECOND
OLD = [ProcessRundown(START + 1, pid, create_time=START - 60 * SECOND, image=f"{pid}.exe") for pid in (100, 200)]
REMOTE = ThreadStart(T + 9 * SECOND, 100, 101, 200, 201, 0x7FF0)
OTHERS = ThreadStart(T + 9 * SECOND + 1, 100, 101, 900, 901, 0x7FF0)


def of_events(*events):
    return trace(encoded([*OLD, *events, REMOTE, OTHERS]))


def of_two_providers(*, is_whole):
    """Both tell a thread start first and last; between, one lacks a start in 200 unless all *is_whole*."""
    threads = [ThreadStart(time, 30, 31, 30, 32) for time in (T, T + 20 * SECOND)]
    both = encoded([threads[0], REMOTE if is_whole else OTHERS._replace(pid=901), OTHERS, threads[1]])
    alone = [] if is_whole else [by_kernel_logger(encode(REMOTE))]
    return trace([*encoded(OLD), *both, *map(by_kernel_logger, both), *alone])


def older(**options):
    """A machine whose recording begins half a minute before the hit."""
    machine = Machine(**options)
    machine.thread(HIT - 30 * SECOND, TARGET, TARGET, 8)
    return machine


def of_images(*images):
    machine = older()
    machine.born(HIT - 5 * SECOND, INJECTOR, "evil.exe", FOLDER + "evil.exe")
    for time, path, base, size in images:
        machine.image(10, time, INJECTOR, path, base, size=size)
    machine.thread(HIT, INJECTOR, TARGET, 9)
    machine.thread(HIT, TARGET, 901, 9)
    return machine.trace()


UNTOUCHED = (900, 901)

DLL = FOLDER + "a.dll"
CASES = {
    "second-start": (
        lambda: of_events(
            ThreadStart(T, 200, 202, 200, 203),
            ProcessStart(T + 1, 9, 9, 200, 9),
            ThreadStart(T + 2, 9, 9, 200, 666),
        ),
        "1 start named a process that was running",
        3,
    ),
    "second-end": (
        lambda: of_events(ProcessStop(T, 200), ProcessStop(T + SECOND, 200)),
        "1 exit named a process that had exited",
        0,
    ),
    "after-exit": (
        lambda: of_events(ProcessStop(T, 200), ProcessStop(T + 30 * SECOND, 200)),
        "1 exit came before threads of the process",
        0,
    ),
    "one-provider": (
        lambda: of_two_providers(is_whole=False),
        "1 thread start came from only one of two providers",
        0,
    ),
    "mapped-over": (
        lambda: of_images((HIT - 4, DLL, 0x1400_8000, 0x1000)),
        "1 image came to lie over another one",
        0,
    ),
    "impossible-image": (
        lambda: of_images((HIT - 4, DLL, 0x7FFF_FFFF_0000, 0x10_0000)),
        "1 image did not fit into the address space",
        0,
    ),
    "second-program": (
        lambda: of_images((HIT - 4, SYSTEM32 + "evil.exe", 0x2000_0000, 0x1000)),
        "1 image had the name of its process's program",
        0,
    ),
}


@pytest.mark.parametrize("evidence", CASES)
def test_each_kind_is_told_and_is_evidence_on_the_hits_that_it_touches(etwdetect, tmp_path, evidence):
    make, line, status = CASES[evidence]
    path = tmp_path / "a.etl"
    path.write_bytes(make())
    done = etwdetect("scan", path, "--format", "json")
    assert done.status == status
    assert done.err.count(line) == 1
    records = [json.loads(text) for text in done.out.splitlines()]
    is_touched = {record["TargetProcessId"]: evidence in record["Evidence"] for record in records}
    assert is_touched == {pid: pid not in UNTOUCHED for pid in is_touched}
    assert len(is_touched) > 1
    etwdetect("events", path, "-o", tmp_path / "a.jsonl")
    again = etwdetect("scan", tmp_path / "a.jsonl", "--format", "json")
    assert (again.status, again.out) == (done.status, done.out)
    assert again.err.count(line) == 1


def with_a_buffer_twice():
    data = trace(encoded([*OLD, REMOTE] * 60), buffer_size=1024)
    buffers = buffers_of(data)
    return b"".join([*buffers[:3], buffers[2], *buffers[3:]])


def with_a_start_that_may_be_another():
    born = encoded(program_start(T, 300, 301))
    again = born[0]._replace(time=T + 5)  # so several sessions are looked for
    apart = [REMOTE, REMOTE._replace(time=REMOTE.time + 2 * SECOND)]
    return trace([*encoded(OLD), born[0], again, born[1], *encoded(apart)])


WHOLE = {
    "doubled-buffer": (with_a_buffer_twice, "1 buffer in it twice, and read once"),
    "second-header": (
        lambda: of_events() + trace(encoded([REMOTE]), T),
        "2 logfile headers: each begins a recording of its own",
    ),
    "told-twice": (with_a_start_that_may_be_another, "1 event may tell again what an earlier one told"),
}


@pytest.mark.parametrize("evidence", WHOLE)
def test_what_is_not_as_one_session_writes_it_is_told_and_evidence(etwdetect, tmp_path, evidence):
    make, line = WHOLE[evidence]
    (tmp_path / "a.etl").write_bytes(make())
    done = etwdetect("scan", tmp_path / "a.etl", "--format", "json")
    assert done.err.count(line) == 1
    records = [json.loads(text) for text in done.out.splitlines()]
    assert records
    assert evidence in records[-1]["Evidence"]


def test_recordings_that_agree_say_nothing(etwdetect, tmp_path):
    lived = [*program_start(T, 300, 301), ProcessStop(T + SECOND, 300)]
    later = [event._replace(time=event.time + 2 * SECOND) for event in lived]
    for number, data in enumerate(
        (
            of_events(*lived, *later),
            of_two_providers(is_whole=True),
            of_images((HIT - 4, DLL, 0x2000_0000, 0x1000), (HIT - 3, DLL, 0x2000_0000, 0x1000)),
        )
    ):
        path = tmp_path / f"{number}.etl"
        path.write_bytes(data)
        done = etwdetect("scan", path, "--format", "json")
        assert [json.loads(line)["Evidence"] for line in done.out.splitlines()] == [[], []]
        assert (done.status, len(done.err.splitlines())) == (0, 1 + (number == 1)), done.err


def test_a_provider_that_is_on_for_a_part_of_the_time_lacks_nothing_before_and_behind():
    own = ThreadStart(T + 2 * SECOND, 30, 31, 30, 32)
    before, behind = REMOTE._replace(time=T + SECOND, tid=202), REMOTE
    last = ThreadStart(T + 3 * SECOND, 30, 31, 30, 33)
    other = [by_kernel_logger(encode(each)) for each in (own, last)]
    data = trace([*encoded([*OLD, before, own, last, behind]), *other])
    found = [hit.thread.evidence for hit in Scan([Trace(io.BytesIO(data), "a.etl")]).detections()]
    assert found == [(), ()]


def test_an_image_that_cannot_be_there_names_no_start(etwdetect, tmp_path):
    path = tmp_path / "a.etl"
    machine = older()
    machine.image(10, HIT - 9, TARGET, DLL, 0, size=(1 << 64) - 1)
    machine.image(10, HIT - 8, TARGET, DLL, 0x10_0000, size=1 << 40)
    machine.image(3, HIT + 9, TARGET, DLL, 0x1000, size=1 << 46)  # listed later
    machine.thread(HIT, INJECTOR, TARGET, 9)
    path.write_bytes(machine.trace())
    record = json.loads(etwdetect("scan", path, "--format", "json").out)
    assert record["Evidence"] == ["impossible-image"]
    assert "StartModule" not in record


def test_on_32_bit_windows_an_image_can_lie_across_the_second_gibibyte():
    machine = older(size=4)
    machine.image(10, HIT - 9, TARGET, DLL, 0x7FFF_0000, size=0x10_0000)
    machine.image(10, HIT - 8, TARGET, DLL, 0xFFFF_0000, size=0x10_0000)
    machine.thread(HIT, INJECTOR, TARGET, 9)
    scan = Scan([Trace(io.BytesIO(machine.trace()), "a.etl")])
    assert [hit.thread.evidence for hit in scan.detections()] == [("impossible-image",)]
    assert scan.result().contradictions == {"impossible-image": 1}


def test_more_than_can_be_held_back_is_passed_on_in_order(monkeypatch):
    monkeypatch.setattr(doubles, "MOST_HELD", 2)
    threads = encoded(ThreadStart(T, 30, 31, pid, 32) for pid in range(40, 60))
    scan = Scan([Trace(io.BytesIO(trace([*threads, *map(by_kernel_logger, threads)])), "a.etl")])
    assert sorted(hit.thread.pid for hit in scan.detections()) == list(range(40, 60))
