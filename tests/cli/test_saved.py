"""Saved json as an input of `scan`."""

import gzip
import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from tests.bytes_by_hand import ANCHOR, SOME_OTHER_PROVIDER, event_header_record, first_buffer, thread_start
from tests.traces_by_writer import attack, write_trace

SAMPLE = Path(__file__).parents[2] / "samples" / "windbg-attach.etl"


@pytest.fixture(scope="module")
def lines():
    """The sample's two records."""
    command = [sys.executable, "-m", "etwdetect", "scan", SAMPLE, "--format", "json"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.fixture
def saved(tmp_path, lines):
    """Save lines, the sample's without any given; return the file."""

    def save(*chosen, name="saved.json", encoding="utf-8"):
        path = tmp_path / name
        path.write_text("".join(f"{line}\n" for line in chosen or lines), encoding)
        return path

    return save


def test_saved_json_comes_out_byte_for_byte(etwdetect, saved, lines):
    done = etwdetect("scan", saved(), "--format", "json")
    assert (done.status, done.out.splitlines()) == (0, lines)
    assert "saved.json: 2 saved remote threads" in done.err


@pytest.mark.parametrize("form", ["classic", "sysmon", "ecs", "ocsf", "csv"])
def test_it_is_converted_as_the_trace_would_be(etwdetect, saved, form):
    assert etwdetect("scan", saved(), "--format", form).out == etwdetect("scan", SAMPLE, "--format", form).out


def test_records_of_version_1_come_out_byte_for_byte_and_get_an_id_in_every_other_format(etwdetect, saved, lines):
    old = [re.sub(r'"SchemaVersion": 2, "RecordId": "[^"]*"', '"SchemaVersion": 1', line) for line in lines]
    done = etwdetect("scan", saved(*old), "--format", "json")
    assert (done.status, done.out.splitlines()) == (0, old)
    for form in ("ecs", "ocsf", "timesketch"):
        assert json.loads(lines[0])["RecordId"] in etwdetect("scan", saved(*old), "--format", form).out


def test_a_record_of_sysmon_is_shown_without_its_source_thread(etwdetect, saved, lines):
    known = {name: value for name, value in json.loads(lines[0]).items() if name != "SourceThreadId"}
    path = saved(json.dumps({**known, "Detector": "sysmon"}))
    assert ": Remote Thread from PID: 7392 TID: ? -> PID: 8336 TID: 9384" in etwdetect("scan", path).out
    message = json.loads(etwdetect("scan", path, "--format", "ecs").out)["message"]
    assert message.startswith("Remote thread 9384 in process 8336 (")
    assert ", made by process 7392 (" in message
    page = path.with_suffix(".html")
    assert etwdetect("report", path, "--output", page).status == 0
    assert "7392:?" in page.read_text("utf-8")


def test_text_has_the_dates_because_saved_records_may_be_of_any_day(etwdetect, saved):
    done = etwdetect("scan", saved(), "--utc")
    assert done.out.startswith("2020-05-12 13:08:15.280: Remote Thread from PID: 7392 TID: 4788")


def test_filters_and_statuses_are_those_of_a_trace(etwdetect, saved):
    done = etwdetect("scan", saved(), "--utc", "--since", "2020-05-12T13:08:58", "--exit-code")
    assert (done.status, len(done.out.splitlines())) == (10, 1)
    assert "2 saved remote threads (1 filtered out)" in done.err
    assert etwdetect("scan", saved(), "--pid", "1", "--exit-code").status == 0


def test_it_is_said_that_options_for_traces_change_nothing_of_saved_results(etwdetect, saved, tmp_path):
    said = "etwdetect: saved results keep their names and kinds: --images, --rules and --drive are for traces"
    rules = tmp_path / "own.toml"
    rules.write_text("[[rule]]\nname = 'own'\nkind = 'mine'\nwhen = {}\n", "utf-8")
    plain = etwdetect("scan", saved())
    for options in (("--images", SAMPLE.parent / "images"), ("--rules", rules), ("--drive", "C:=\\Device\\x")):
        done = etwdetect("scan", saved(), *options)
        assert (done.out, done.status) == (plain.out, 0)
        assert done.err.splitlines() == [said, *plain.err.splitlines()]
        assert said not in etwdetect("scan", SAMPLE, *options).err


def test_saved_results_and_traces_mix(etwdetect, saved, lines, tmp_path):
    trace = write_trace(tmp_path / "a.etl", attack())
    done = etwdetect("scan", saved(), trace, "--format", "json")
    assert done.status == 0
    assert len(done.out.splitlines()) == 3
    assert done.out.splitlines()[1:] == lines


def test_a_bad_line_is_told_with_its_number_and_the_others_count(etwdetect, saved, lines):
    wrong = json.dumps({**json.loads(lines[0]), "SourceProcessId": -1})
    path = saved(lines[0], "Dear diary", "", wrong, lines[1], lines[0][:100])
    done = etwdetect("scan", path, "--format", "json")
    assert (done.status, done.out.splitlines()) == (3, lines)
    assert f"{path}: line 2: not valid JSON: Expecting value at character 1" in done.err
    assert f"{path}: line 4: SourceProcessId is -1" in done.err
    assert f"{path}: line 6: not valid JSON" in done.err


def test_many_bad_lines_are_counted_and_the_first_described(etwdetect, saved, lines):
    done = etwdetect("scan", saved(lines[0], *["{}"] * 500))
    assert done.status == 3
    assert "line 11: not a record of a remote thread: it has no SchemaVersion" in done.err
    assert "line 12" not in done.err
    assert "490 more lines are not records" in done.err


def test_a_file_of_which_nothing_can_be_read_is_an_error(etwdetect, saved, lines):
    newer = json.dumps({**json.loads(lines[0]), "SchemaVersion": 3, "Better": True})
    done = etwdetect("scan", saved(newer))
    assert (done.status, done.out) == (1, "")
    assert (
        "line 1: a record of schema version 3, which a newer etwdetect wrote; this one reads up to 2" in done.err
    )


def test_the_first_line_may_be_a_bad_one(etwdetect, saved, lines):
    done = etwdetect("scan", saved("{", *lines), "--format", "json")
    assert (done.status, done.out.splitlines()) == (3, lines)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_what_powershell_redirects_is_read(etwdetect, saved, lines, encoding):
    done = etwdetect("scan", saved(*lines, encoding=encoding), "--format", "json")
    assert (done.status, done.out.splitlines()) == (0, lines)


def test_bytes_that_are_no_text_make_a_bad_line(etwdetect, saved, lines):
    path = saved()
    path.write_bytes(path.read_bytes() + lines[0].encode().replace(b"windbg", b"wind\xffg"))
    done = etwdetect("scan", path)
    assert (done.status, len(done.out.splitlines())) == (3, 2)
    assert "line 3: it has bytes that are not valid text" in done.err


def test_a_line_without_end_is_no_danger(etwdetect, saved, lines):
    path = saved()
    with path.open("ab") as file:
        file.write(b'{"a": "' + b"x" * (20 << 20) + b'"}\n' + lines[0].encode() + b"\n")
    done = etwdetect("scan", path)
    assert (done.status, len(done.out.splitlines())) == (3, 3)
    assert "line 3: it is longer than 8,388,608 characters" in done.err
    assert "line 4" not in done.err


def test_gz_and_zip_around_saved_json_are_opened(etwdetect, saved, lines, tmp_path):
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(saved().read_bytes()))
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(saved(), "inner/saved.json")
        archive.write(SAMPLE, "inner/trace.etl")
        archive.writestr("other.json", '{"no": "record"}')
    assert etwdetect("scan", tmp_path / "a.json.gz", "--format", "json").out.splitlines() == lines
    done = etwdetect("scan", tmp_path / "a.zip", "--format", "json")
    before, after = (json.dumps(str(each)) for each in (SAMPLE, f"{tmp_path / 'a.zip'}!inner/trace.etl"))
    of_trace = [line.replace(before, after) for line in lines]
    assert (done.status, done.out.splitlines()) == (0, [*of_trace, *lines])
    assert "a.zip!inner/saved.json: 2 saved remote threads" in done.err


def test_a_gz_that_breaks_off_is_read_as_far_as_it_goes(etwdetect, lines, tmp_path):
    packed = gzip.compress(("\n".join([*lines, *(os.urandom(500).hex() for _ in range(500))]) + "\n").encode())
    (tmp_path / "a.json.gz").write_bytes(packed[:-3000])
    done = etwdetect("scan", tmp_path / "a.json.gz", "--format", "json")
    assert (done.status, done.out.splitlines()) == (3, lines)
    assert "more lines are not records" in done.err


def test_a_directory_means_its_traces_and_not_the_results_in_it(etwdetect, saved, tmp_path):
    write_trace(tmp_path / "a.etl", attack())
    saved()
    assert len(etwdetect("scan", tmp_path).out.splitlines()) == 1


def test_the_result_never_overwrites_what_it_is_made_from(etwdetect, saved):
    path = saved()
    before = path.read_bytes()
    assert etwdetect("scan", path, "--output", path).status == 2
    assert path.read_bytes() == before


def test_folding_saved_results_adds_up(etwdetect, saved, lines):
    done = etwdetect("scan", saved(lines[0], lines[0], lines[1]), "--format", "json", "--fold", "5")
    assert [json.loads(line).get("Count") for line in done.out.splitlines()] == [2, None]
    again = etwdetect(
        "scan", saved(*done.out.splitlines(), *done.out.splitlines()), "--format", "json", "--fold=99"
    )
    assert sum(json.loads(line).get("Count", 1) for line in again.out.splitlines()) == 6


@pytest.mark.parametrize("name", ["\x1b[2J.json", "a\nb.json"])
def test_a_hostile_file_name_is_harmless(etwdetect, saved, name):
    if sys.platform == "win32":
        pytest.skip("Windows has no such file names")
    done = etwdetect("scan", saved("{}", '{"SchemaVersion": 1}', name=name))
    assert done.status == 1
    assert all(line.isprintable() for line in done.err.splitlines())


@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal")
def test_an_interrupted_reading_prints_what_it_read_so_far(tmp_path, lines):
    path = tmp_path / "long.json"
    with path.open("w") as file:
        file.writelines([f"{lines[0]}\n" * 1000] * 300)
    command = [sys.executable, "-m", "etwdetect", "scan", path, "--output", tmp_path / "out.txt"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while not any(each.stat().st_size for each in tmp_path.glob(".etwdetect-*.part")):
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        err = process.communicate(timeout=60)[1]
    assert process.returncode == 3
    assert (tmp_path / "out.txt").read_text().endswith("\n")
    assert "long.json: interrupted: what was not read by then is not in the result" in err
    assert "Traceback" not in err


def test_other_inputs_are_not_taken_for_saved_results(etwdetect, tmp_path):
    (tmp_path / "a.json").write_text('{"SchemaVersion without an end\n')
    (tmp_path / "b.json").write_text('{"a": 1}\n')
    for name in ("a.json", "b.json"):
        assert etwdetect("scan", tmp_path / name).status == 1


def test_no_event_of_a_trace_makes_it_pass_for_saved_results(etwdetect, tmp_path):
    line = event_header_record(SOME_OTHER_PROVIDER, 1, b'\n{"SchemaVersion":1}\n')
    attack = thread_start((100, 101), 200, 201, time=ANCHOR + 30_000_000)
    (tmp_path / "a.etl").write_bytes(first_buffer(line, attack))
    for path in (tmp_path / "a.etl", tmp_path):
        assert "PID: 100 TID: 101 -> PID: 200 TID: 201" in etwdetect("scan", path).out


def test_a_command_for_events_says_that_saved_results_have_none(etwdetect, saved):
    done = etwdetect("events", saved())
    assert done.status == 1
    assert "saved.json: holds saved results, not events" in done.err
