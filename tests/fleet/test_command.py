"""etwdetect fleet, as a user runs it."""

import gzip
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.fleet.sparkling import found_only, threads
from tests.fleet.test_stream import arrivals, write_batches
from tests.traces_by_writer import attack, write_trace

SAMPLE = Path(__file__).parents[2] / "samples" / "windbg-attach.etl"
KILLS = int(os.environ.get("ETWDETECT_KILLS", "1"))
"""How many times the stream is killed; five take some minutes."""

pytestmark = pytest.mark.usefixtures("java")


def lines(folder):
    return [json.loads(line) for path in sorted(folder.rglob("*.json")) for line in path.read_text().splitlines()]


def test_traces_and_events_give_the_records_of_their_scan_and_broken_ones_are_told(etwdetect, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    write_trace(folder / "PC1.etl", attack())
    etwdetect("events", SAMPLE, "--host", "PC2", "-o", folder / "b.jsonl")
    (folder / "b.jsonl.gz").write_bytes(gzip.compress((folder / "b.jsonl").read_bytes()))
    (folder / "b.jsonl").unlink()
    (folder / "b.txt.gz").write_bytes(b"of no interest")
    etwdetect("events", SAMPLE, "--host", "PC3", "--format", "parquet", "-o", folder / "c.parquet")
    (folder / "cut.jsonl").write_bytes(b'{"schema_version":1,"host":"PC4\xff\x88","rec\n')
    (folder / "bad.etl").write_bytes(b"no trace at all" * 10)
    out = tmp_path / "out"
    arguments = (folder, "-o", out, "--format", "json", "--master", "local[2]", "--buckets", 1)
    done = etwdetect("fleet", *arguments, "--exit-code")
    assert (done.status, done.out) == (11, "")
    assert f"{out}: 5 remote threads, 3 faults" in done.err
    expected = [json.loads(line) for line in etwdetect("scan", SAMPLE, "--format", "json").out.splitlines()]
    for host in ("PC2", "PC3"):
        rows = [row for row in lines(out / "records") if row["host"] == host]
        assert [{name: row[name] for name in row if name[0].isupper()} for row in rows] == expected
    told = {Path(row["file"]).name: row["fault"] for row in lines(out / "faults")}
    assert told["cut.jsonl"].startswith('is not a valid row: {"schema_version":1,"host":"PC4')
    assert "is not a trace" in told["bad.etl"]
    assert "is not a trace" in told["b.txt.gz"]

    again = etwdetect("fleet", *arguments)
    assert again.status == 1
    assert "already has records: choose a new folder" in again.err


def start(folder, out):
    command = [sys.executable, "-m", "etwdetect", "fleet", folder, "-o", out, "--format", "json", "--stream"]
    options = ["--master", "local[2]", "--lateness", "20 seconds", "--buckets", "2", "--files-per-batch", "1"]
    options += ["--input-format", "parquet", "--once"]
    return subprocess.Popen([*map(str, command), *options], stderr=subprocess.PIPE, start_new_session=True)


def test_a_stream_that_is_killed_at_any_moment_goes_on_with_no_record_lost_or_doubled(tmp_path):
    batches, expected = arrivals(8, 300, 3 * KILLS, lateness=20)
    write_batches(tmp_path / "in", batches)
    rng = random.Random(time.time_ns())
    killed = 0
    deadline = time.monotonic() + 300 * KILLS
    while killed < KILLS and time.monotonic() < deadline:
        with start(tmp_path / "in", tmp_path / "out") as process:
            offsets = tmp_path / "out" / "checkpoint" / "offsets"
            begun = len(list(offsets.glob("[0-9]*"))) if offsets.exists() else 0
            while process.poll() is None and not (offsets.exists() and len(list(offsets.glob("[0-9]*"))) > begun):
                time.sleep(0.1)
            time.sleep(rng.random() * 5)
            if process.poll() is None:
                killed += 1
            os.killpg(process.pid, signal.SIGKILL)
    with start(tmp_path / "in", tmp_path / "out") as process:
        _, err = process.communicate(timeout=600)
    assert process.returncode == 0, err.decode()
    assert killed
    assert threads(lines(tmp_path / "out" / "records")) == found_only(expected)
    assert not (tmp_path / "out" / "faults").exists()


def test_ctrl_c_ends_a_stream_well(tmp_path):
    (tmp_path / "in").mkdir()
    command = [sys.executable, "-m", "etwdetect", "fleet", tmp_path / "in", "-o", tmp_path / "out", "--stream"]
    command += ["--input-format", "etl", "--master", "local[1]", "--buckets", "1"]
    with subprocess.Popen([*map(str, command)], stderr=subprocess.PIPE, start_new_session=True) as process:
        while process.poll() is None and not (tmp_path / "out" / "checkpoint" / "metadata").exists():
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err.decode()
    assert "0 remote threads, 0 faults" in err.decode()
    assert "Traceback" not in err.decode()
