"""Several traces scanned at once tell what they tell one after the other."""

import contextlib
import gzip
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from etwdetect.cli import job_process
from etwdetect.cli import jobs as jobs_module
from etwdetect.cli.job_process import ScanOptions
from etwdetect.cli.jobs import Jobs
from etwdetect.cli.printing import Printed
from etwdetect.core.errors import EtwDetectError, NotATraceError
from etwdetect.core.events import ProcessStart, ThreadStart
from etwdetect.enrich.kinds import Kinds
from etwdetect.offline.inputs import find_inputs
from etwdetect.sources.decode.encode import encode
from etwdetect.sources.etl.writer import TraceOptions, TraceWriter

START = 132_337_152_000_000_000
NO_OPTIONS = ScanOptions(Kinds(), (), None, hash=False)


def write_trace(path, number, hits=3, noise=0):
    with path.open("w+b") as file, TraceWriter(file, TraceOptions(START + number * 10**7)) as writer:
        time_of = START + number * 10**7
        writer.write(encode(ProcessStart(time_of, 8, 9, 100, 8, image=f"program{number}.exe")))
        for tid in range(hits + 1):
            writer.write(encode(ThreadStart(time_of + tid, 8, 9, 100, 200 + tid, 0x7FF000)))
        for tid in range(noise):
            writer.write(encode(ThreadStart(time_of + tid, 100, 9, 100, tid)))


@pytest.fixture
def folder(tmp_path):
    """Return a folder with traces that can be read, and with such that can't."""
    for number in range(7):
        write_trace(tmp_path / f"{number}.etl", number, hits=number * 200)
    (tmp_path / "2b.etl").write_bytes(b"no trace")
    cut = (tmp_path / "3.etl").read_bytes()
    (tmp_path / "3b.etl").write_bytes(cut[: len(cut) - 100])
    (tmp_path / "4b.etl.gz").write_bytes(gzip.compress(cut))
    return tmp_path


def run(*arguments, **options):
    command = [sys.executable, "-m", "etwdetect", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=False, timeout=100, **options)


class Numbers:
    """A printer of the thread's id."""

    def __init__(self):
        self.lines = []

    def show(self, detection):
        self.lines.append(f"{detection.thread.tid}\n")

    def flush(self):
        self.lines.append("end\n")

    def printed(self):
        lines, self.lines = self.lines, []
        return Printed(lines, sum(line != "end\n" for line in lines), 0)


def wait_until(is_so):
    until = time.monotonic() + 60
    while not is_so() and time.monotonic() < until:
        time.sleep(0.02)
    assert is_so()


def without_seconds(said):
    return [line.rpartition(b" in ")[0] or line for line in said.splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ("scan", "--utc", "--since", "2020-05-12T00:00:04"),
        ("scan", "--format", "json", "--hash", "--limit", "output=200000"),
        ("scan", "--format", "csv", "--exit-code", "--fold", "1", "-v", "--no-users"),
        ("explain", "--utc", "--target-pid", "100"),
    ],
)
def test_several_jobs_print_what_one_prints(folder, command):
    one, two = (run(*command, folder, folder / "missing.etl", "--jobs", jobs) for jobs in (1, 3))
    assert one.stdout == two.stdout
    assert without_seconds(one.stderr) == without_seconds(two.stderr)
    assert one.returncode == two.returncode
    assert len(one.stdout.splitlines()) > 5


@pytest.mark.slow
def test_a_report_of_several_jobs_has_what_that_of_one_has(folder, tmp_path_factory):
    pages = [tmp_path_factory.mktemp("pages") / f"{jobs}.html" for jobs in (1, 3)]
    for jobs, page in zip((1, 3), pages, strict=True):
        assert run("report", folder, "-o", page, "--jobs", jobs).returncode == 1
    one, two = (page.read_bytes() for page in pages)
    assert one == two


@pytest.mark.slow
def test_a_reader_that_is_gone_ends_all_jobs(folder):
    command = [sys.executable, "-m", "etwdetect", "scan", "--jobs", "2", str(folder)]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with running:
        running.stdout.readline()
        running.stdout.close()
        said = running.stderr.read()
    assert b"Traceback" not in said
    assert running.returncode is not None


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent otherwise on Windows")
def test_an_interruption_ends_the_scans_and_sums_up(tmp_path):
    for number in range(4):
        write_trace(tmp_path / f"{number}.etl", number, noise=60_000)
    command = [sys.executable, "-m", "etwdetect", "scan", "--jobs", "2", str(tmp_path)]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    with running:
        running.stdout.readline()  # the first trace is shown
        os.killpg(running.pid, signal.SIGINT)
        _, said = running.communicate(timeout=60)
    assert b"Traceback" not in said
    if running.returncode != 0:  # 0: all was read before the signal came
        assert running.returncode == 3
        assert b"interrupted" in said
        assert b"4 inputs: " in said


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent otherwise on Windows")
def test_ctrl_c_does_not_reach_a_process_that_starts(folder):
    inputs = list(find_inputs(folder / "1.etl"))
    with Jobs(inputs, NO_OPTIONS, 1) as jobs:
        started = jobs._workers[0]._process
        for _ in range(20):
            os.kill(started.pid, signal.SIGINT)
            time.sleep(0.01)
        assert len(list(jobs.next_source().detections())) == 200
        assert jobs._workers[0]._process is started


def test_results_come_in_the_order_of_the_inputs(folder):
    inputs = [each for number in (5, 0, 3) for each in find_inputs(folder / f"{number}.etl")]
    with Jobs(inputs, NO_OPTIONS, 2) as jobs:
        found = []
        for _ in inputs:
            source = jobs.next_source()
            found.append((Path(source.name).name, sum(1 for _ in source.detections())))
    assert found == [("5.etl", 1000), ("0.etl", 0), ("3.etl", 600)]


def test_a_trace_that_can_not_be_read_fails_alone(folder):
    inputs = [each for name in ("2b", "1") for each in find_inputs(folder / f"{name}.etl")]
    with Jobs(inputs, NO_OPTIONS, 2) as jobs:
        with pytest.raises(NotATraceError, match=r"2b\.etl: is not a trace"):
            jobs.next_source()
        assert len(list(jobs.next_source().detections())) == 200


def test_a_process_that_dies_fails_one_trace(folder):
    inputs = [each for number in (1, 2, 4) for each in find_inputs(folder / f"{number}.etl")]
    with Jobs(inputs, NO_OPTIONS, 1) as jobs:
        jobs._workers[0]._process.kill()
        with pytest.raises(EtwDetectError, match="ended before it was done"):
            list(jobs.next_source().detections())
        counts = [len(list(jobs.next_source().detections())) for _ in range(2)]
    assert counts == [400, 800]


def test_what_is_left_of_a_trace_is_not_taken_for_the_next(folder):
    inputs = [each for number in (6, 1) for each in find_inputs(folder / f"{number}.etl")]
    with Jobs(inputs, NO_OPTIONS, 1) as jobs:
        first = jobs.next_source()
        next(first.detections())
        first.drain()
        assert len(list(jobs.next_source().detections())) == 200


def test_who_waits_to_be_shown_goes_on_with_other_traces(folder):
    inputs = [each for number in (6, 0, 1, 2, 3, 4) for each in find_inputs(folder / f"{number}.etl")]
    with Jobs(inputs, NO_OPTIONS, 1) as jobs:
        wait_until(lambda: not jobs._workers[0]._given)
        assert [len(list(jobs.next_source().detections())) for _ in inputs] == [1200, 0, 200, 400, 600, 800]


@pytest.mark.slow
def test_what_nobody_asks_for_is_taken_in_up_to_a_bound(folder, monkeypatch):
    monkeypatch.setattr(jobs_module, "_HELD", 10_000)
    inputs = [each for _ in range(5) for each in find_inputs(folder / "6.etl")]
    with Jobs(inputs, NO_OPTIONS, 1) as jobs:
        (worker,) = jobs._workers
        wait_until(lambda: worker._size > 10_000)
        time.sleep(0.5)
        assert sum(map(len, list(worker._held)[:-1])) <= 10_000
        assert worker._given
        assert [len(list(jobs.next_source().detections())) for _ in inputs] == [1200] * 5


def test_only_lines_are_sent_where_only_lines_are_wanted(folder):
    inputs = list(find_inputs(folder / "2.etl"))
    with Jobs(inputs, NO_OPTIONS._replace(printer=Numbers), 1) as jobs:
        printed = list(jobs.next_source().printed())
    assert [line for each in printed for line in each.lines] == [f"{tid}\n" for tid in range(201, 601)] + ["end\n"]
    assert sum(each.shown for each in printed) == 400


def test_what_was_found_before_a_failure_is_told():
    class Failing:
        def result(self):
            return None

        def found(self):
            yield from range(3)
            raise OSError("no space left")

    received, sent = multiprocessing.Pipe(duplex=False)
    job_process.send_all(Failing(), sent, job_process.Unprinted())
    sent.close()
    messages = []
    with contextlib.suppress(EOFError):
        while True:
            message = received.recv_bytes()
            messages.append((message[:1], pickle.loads(message[1:])))
    found = [each for kind, block in messages if kind == job_process.FOUND for each in block]
    assert found == [0, 1, 2]
    assert messages[-1][0] == job_process.END
    assert str(messages[-1][1]) == "no space left"


def test_the_processes_end_with_the_command(folder):
    with Jobs(list(find_inputs(folder / "1.etl")), NO_OPTIONS, 1) as jobs:
        process = jobs._workers[0]._process
    wait_until(lambda: not process.is_alive())
