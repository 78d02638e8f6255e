"""No output overwrites what the command reads, and none is ever torn."""

import functools
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from etwdetect.cli import main, results
from tests.conftest import needs_numpy, needs_parquet
from tests.traces_by_writer import SECOND, START, attack, write_trace

SIGNALS = int(os.environ.get("ETWDETECT_SIGNALS", "1"))
"""How many of each kind are sent at each output; the whole test takes a minute each."""

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals and limits")

RECORDS = 1_000


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    """One with many remote threads."""
    events = [event for number in range(RECORDS) for event in attack(START + (10 + number) * SECOND)]
    return write_trace(tmp_path_factory.mktemp("trace") / "many.etl", events)


def lines(path):
    text = path.read_text("utf-8")
    assert not text or text.endswith("\n")
    return text.splitlines()


def is_json(path):
    for line in lines(path):
        json.loads(line)


def is_csv(path):
    heading, *rows = lines(path)
    assert all(row.count(",") >= heading.count(",") for row in rows)


def is_database(path):
    database = sqlite3.connect(path)
    assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert database.execute("SELECT count(*) FROM remote_threads").fetchone()[0] % RECORDS == 0  # each run adds
    database.close()


def is_page(path):
    assert path.read_text("utf-8").rstrip().endswith("</html>")


def is_parquet(path):
    import pyarrow.parquet as pq  # noqa: PLC0415 (an extra)

    pq.read_table(path)


OUTPUTS = {
    "text": (("scan",), lines),
    "json": (("scan", "--format", "json"), is_json),
    "csv": (("scan", "--format", "csv"), is_csv),
    "classic": (("scan", "--format", "classic"), lines),
    "sysmon": (("scan", "--format", "sysmon"), is_json),
    "ecs": (("scan", "--format", "ecs"), is_json),
    "ocsf": (("scan", "--format", "ocsf"), is_json),
    "timesketch": (("scan", "--format", "timesketch"), is_json),
    "sqlite": (("scan", "--format", "sqlite"), is_database),
    "report": (("report",), is_page),
    "jsonl": (("events",), is_json),
    "parquet": (("events", "--format", "parquet"), is_parquet),
}
each_output = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=needs_parquet if name == "parquet" else ()) for name in OUTPUTS]
)


def command(name, trace, path):
    return [sys.executable, "-m", "etwdetect", *OUTPUTS[name][0], trace, "-o", path]


def is_old_or_valid(name, path, old):
    if not path.exists():
        assert old is None
    elif path.read_bytes() != old and not (name == "sqlite" and not path.stat().st_size):
        OUTPUTS[name][1](path)


@pytest.fixture(scope="module")
def written(trace, tmp_path_factory):
    """Return a function that tells what a command writes when nothing disturbs it, and how long it takes."""

    @functools.cache
    def written(name):
        path, begun = tmp_path_factory.mktemp("written") / "out", time.monotonic()
        subprocess.run(command(name, trace, path), stderr=subprocess.PIPE, check=True)
        return path, time.monotonic() - begun

    return written


@posix_only
@pytest.mark.slow
@each_output
@pytest.mark.parametrize("kind", ["SIGINT", "SIGTERM", "SIGHUP", "SIGKILL"])
def test_a_signal_at_any_moment_leaves_the_old_file_or_a_valid_new_one(tmp_path, trace, written, name, kind):
    path, rng = tmp_path / f"out.{name}", random.Random()
    whole, took = written(name)
    shutil.copyfile(whole, path)
    for _ in range(SIGNALS):
        old = path.read_bytes() if path.exists() else None
        with subprocess.Popen(command(name, trace, path), stderr=subprocess.PIPE) as process:
            try:
                process.wait(rng.random() * took)
            except subprocess.TimeoutExpired:
                process.send_signal(getattr(signal, kind))
            process.communicate(timeout=120)
        is_old_or_valid(name, path, old)


def test_an_interruption_before_the_heading_leaves_the_old_file(tmp_path, trace, monkeypatch):
    def interrupted(*_arguments, **_options):
        raise KeyboardInterrupt

    path = tmp_path / "out.csv"
    path.write_text("old")
    monkeypatch.setattr(results, "stream_writer", interrupted)
    assert main(["scan", str(trace), "--format", "csv", "-o", str(path)]) == 1
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
@posix_only
@each_output
@pytest.mark.parametrize("old", [True, False])
def test_a_full_disk_leaves_the_old_file_or_none(tmp_path, trace, written, name, old):
    path = tmp_path / f"out.{name}"
    if old:
        shutil.copyfile(written(name)[0], path)
    before = path.read_bytes() if old else None
    small = 'ulimit -f 8; trap "" XFSZ; exec "$@"'
    done = subprocess.run(
        ["bash", "-c", small, "bash", *map(str, command(name, trace, path))],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        # The limit would cut the modules that Python compiles, and no other process could import them.
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "cannot be written: " in done.stderr
    # Where SQLite may not even write old pages back, the next who opens the file does.
    assert {each.name for each in tmp_path.iterdir()} <= {path.name, f"{path.name}-journal"}
    is_old_or_valid(name, path, before)


@pytest.mark.skipif(sys.platform == "win32", reason="making a link needs a right there")
@pytest.mark.parametrize("name", ["text", "report", "jsonl"])
def test_an_input_in_a_directory_is_never_written_over(etwdetect, tmp_path, name):
    (tmp_path / "in").mkdir()
    kept = write_trace(tmp_path / "kept.bin", attack())
    before = kept.read_bytes()
    (tmp_path / "in" / "a.etl").symlink_to(kept)
    done = etwdetect(*command(name, tmp_path / "in", kept)[3:])
    assert done.status == 2
    assert "is one of the inputs" in done.err
    assert kept.read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize("called", ["out.jsonl", "out.ETL", "out.parquet", "out.csv.gz"])
@pytest.mark.parametrize("name", ["text", "sqlite", "report", "jsonl"])
def test_no_output_is_made_where_the_next_run_would_read_it(etwdetect, tmp_path, name, called):
    (tmp_path / "inner").mkdir()
    write_trace(tmp_path / "a.etl", attack())
    for folder in (tmp_path, tmp_path / "inner"):
        done = etwdetect(*command(name, tmp_path, folder / called)[3:])
        assert done.status == 2
        assert "would be an input of the next run over" in done.err
        assert not (folder / called).exists()


def test_another_name_in_the_directory_is_taken(etwdetect, tmp_path):
    write_trace(tmp_path / "a.etl", attack())
    assert etwdetect("scan", tmp_path, "-o", tmp_path / "out.txt").status == 0
    assert (tmp_path / "out.txt").exists()


def test_the_rules_for_kinds_are_not_written_over(etwdetect, tmp_path):
    rules = tmp_path / "rules.toml"
    rules.write_text("[[rule]]\nname = 'own'\nkind = 'mine'\nwhen = {}\n", "utf-8")
    trace = write_trace(tmp_path / "a.etl", attack())
    for name in ("text", "report"):
        assert etwdetect(*command(name, trace, rules)[3:], "--rules", rules).status == 2
    assert "mine" in rules.read_text("utf-8")


@needs_numpy
@pytest.mark.parametrize("option", ["--junit", "--json"])
def test_no_recording_is_written_over_by_the_results_of_the_parity_tests(etwdetect, tmp_path, option):
    trace = write_trace(tmp_path / "a.etl", attack())
    before = trace.read_bytes()
    done = etwdetect("parity", "run", "--bench", "trace", tmp_path, option, trace)
    assert done.status == 2
    assert trace.read_bytes() == before
