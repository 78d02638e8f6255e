"""What the commands do with what they found, shown on `scan`."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from etwdetect.results.record import from_json
from tests.results.sinks.conftest import HOST, HttpServer
from tests.traces_by_writer import SECOND, START, attack, write_trace

SAMPLE = Path(__file__).parents[2] / "samples" / "windbg-attach.etl"


@pytest.fixture
def busy(tmp_path):
    """A trace with five threads of one pair of processes: at 10, 11, 12, 30 and 100 seconds."""
    first, *_ = listed = attack()
    events = [*listed[:2], *(attack(START + n * SECOND)[2]._replace(tid=n) for n in (10, 11, 12, 30, 100))]
    assert first in events
    return write_trace(tmp_path / "busy.etl", events)


def counts(done):
    return [(each.thread.tid, each.count) for each in map(from_json, done.out.splitlines())]


def test_fold_joins_repeats_into_one_with_a_count_and_the_time_of_the_last(etwdetect, busy):
    done = etwdetect("scan", busy, "--format", "json", "--fold", "5")
    assert counts(done) == [(10, 3), (30, 1), (100, 1)]
    assert json.loads(done.out.splitlines()[0])["LastTime"] == str(START + 12 * SECOND)
    assert "LastTime" not in json.loads(done.out.splitlines()[1])
    assert "5 remote threads" in done.err


def test_fold_without_a_number_is_a_minute(etwdetect, busy):
    assert counts(etwdetect("scan", busy, "--format", "json", "--fold")) == [(10, 4), (100, 1)]
    line = etwdetect("scan", busy, "--utc", "--fold").out.splitlines()[0]
    assert line.startswith("00:00:10.000: Remote Thread from PID: 100 TID: 101 -> PID: 200 TID: 10  evil.exe")
    assert "  4 times until 00:00:30.000" in line


def test_what_is_not_shown_is_not_counted_in_a_fold(etwdetect, busy):
    done = etwdetect("scan", busy, "--format", "json", "--fold", "--utc", "--since", "2020-05-12T00:00:11")
    assert counts(done) == [(11, 3), (100, 1)]


def test_traces_are_folded_each_alone(etwdetect, busy):
    assert counts(etwdetect("scan", busy, busy, "--format", "json", "--fold=1000")) == [(10, 5), (10, 5)]


@pytest.mark.parametrize("wrong", ["0", "-1", "nan", "inf", "1e10"])
def test_a_window_that_is_none_is_a_usage_error(etwdetect, busy, wrong):
    assert etwdetect("scan", busy, f"--fold={wrong}").status == 2


def test_a_trace_taken_for_the_window_is_told_how_to_be_written(etwdetect, busy):
    done = etwdetect("scan", "--fold", busy)
    assert done.status == 2
    assert "put --fold last, or write --fold=60" in done.err


@pytest.fixture
def web():
    server = HttpServer()
    yield server
    server.close()


def test_what_is_printed_goes_to_all_sinks_besides(etwdetect, busy, web):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as log:
        log.bind((HOST, 0))
        log.settimeout(30)
        urls = f"http://{HOST}:{web.port}/", f"syslog+udp://{HOST}:{log.getsockname()[1]}"
        done = etwdetect("scan", busy, "--format", "json", "--fold", "5", "--to", urls[0], "--to", urls[1])
        assert done.status == 0
        assert b"".join(body for _, _, body in web.requests).decode("ascii") == done.out
        assert [b'Count="3"' in log.recv(65_535) for _ in range(3)] == [True, False, False]
    assert [f"{url.rstrip('/')}: 3 of 3 sent" in done.err for url in urls] == [True, True]


def test_what_is_not_sent_is_told_and_makes_the_result_incomplete(etwdetect, web):
    web.answers = [403, 403]  # for two posts; both records may go with the first
    done = etwdetect("scan", SAMPLE, "--to", f"http://{HOST}:{web.port}/")
    assert done.status == 3
    assert len(done.out.splitlines()) == 2
    assert "0 of 2 sent; 2 refused" in done.err
    web.answers = []
    assert etwdetect("scan", SAMPLE, "--to", f"http://{HOST}:{web.port}/", "--exit-code").status == 10


def test_a_dead_server_keeps_nothing_from_being_printed(etwdetect):
    with socket.create_server((HOST, 0)) as closed:
        port = closed.getsockname()[1]
    done = etwdetect("scan", SAMPLE, "--exit-code", "--wait", "2", "--to", f"http://{HOST}:{port}/")
    assert done.status == 11
    assert len(done.out.splitlines()) == 2
    assert re.search("refused.*; trying again", done.err)
    assert "0 of 2 sent; 2 not sent by the end" in done.err


def test_a_sink_that_is_none_is_a_usage_error_before_anything_is_written(etwdetect, tmp_path):
    kept = tmp_path / "kept.txt"
    kept.write_text("kept")
    done = etwdetect("scan", SAMPLE, "--output", kept, "--to", "nowhere")
    assert (done.status, kept.read_text()) == (2, "kept")
    assert "--to nowhere: is not a sink; sinks are: syslog+udp://HOST[:PORT]" in done.err


@pytest.mark.skipif(os.name == "nt", reason="this is Windows")
def test_the_windows_event_log_elsewhere_is_not_possible(etwdetect):
    assert etwdetect("scan", SAMPLE, "--to", "eventlog:").status == 5


@pytest.mark.skipif(sys.platform == "win32", reason="runs a shell")
@pytest.mark.parametrize("output", ["| true", ">&-", "--format csv | true", "--format csv >&-"])
def test_an_output_that_nobody_reads_takes_nothing_from_the_sinks(busy, web, output):
    command = f'"{sys.executable}" -u -m etwdetect scan "{busy}" --to http://{HOST}:{web.port}/ {output}'
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0
    assert "5 of 5 sent" in done.stderr


PLAIN = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
"""Has Python write ASCII where nobody says otherwise; on Windows it writes the system's code page then."""
FOREIGN = "m\xe4x\u6f22.exe"


@pytest.mark.parametrize("form", ["text", "classic", "csv"])
def test_what_another_program_reads_is_utf8_whatever_the_locale(etwdetect, tmp_path, form):
    trace = write_trace(tmp_path / "a.etl", attack(source=FOREIGN, target=FOREIGN))
    done = etwdetect("scan", trace, "--format", form, env={**os.environ, **PLAIN})
    assert (FOREIGN in done.out) == (form != "classic")
    assert done.out.startswith("\ufeff") == (form == "csv")


@pytest.mark.skipif(sys.platform == "win32", reason="the Python of the Windows lab reads none of its variables")
def test_an_encoding_that_was_asked_for_is_taken_and_what_it_lacks_is_escaped(etwdetect, tmp_path):
    trace = write_trace(tmp_path / "a.etl", attack(source=FOREIGN, target=FOREIGN))
    done = etwdetect("scan", trace, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert r"m\xe4x\u6f22.exe -> " in done.out
