import csv
import gzip
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest

from etwdetect.cli import main, scan
from etwdetect.core.events import ProcessStart, ThreadStart
from etwdetect.core.raw import THREAD
from etwdetect.results.formats import FORMATS, needs_a_file
from etwdetect.results.record import from_json, to_json
from etwdetect.sources.decode.encode import encode
from etwdetect.sources.etl.writer import SYSTEM64, TraceOptions, TraceWriter
from tests.conftest import needs_a_full_disk, needs_numpy
from tests.traces_by_writer import SECOND, START, attack, program_start, write_trace

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "samples" / "windbg-attach.etl"
QUIET = ROOT / "samples" / "quiet.etl"
BOOK_LINES = [
    "13:08:15.280: Remote Thread from PID: 7392 TID: 4788 -> PID: 8336 TID: 9384",
    "13:08:58.660: Remote Thread from PID: 7392 TID: 13092 -> PID: 8336 TID: 13288",
]


def test_classic_prints_the_books_lines_to_the_letter(etwdetect):
    done = etwdetect("scan", SAMPLE, "--format", "classic", "--utc")
    assert done.out.splitlines() == BOOK_LINES
    assert done.status == 0


def test_text_puts_the_names_behind_the_books_line(etwdetect):
    done = etwdetect("scan", SAMPLE, "--utc")
    assert done.out.splitlines() == [
        f"{line}  windbg.exe -> notepad.exe  ntdll.dll+0xCD3F0" for line in BOOK_LINES
    ]


@pytest.mark.parametrize("form", ["text", "classic", "sysmon"])
def test_the_examples_of_formats_in_the_docs_are_what_it_prints(etwdetect, form):
    options = "--images", SAMPLE.parent / "images", "--host", "WORKSTATION5", "--utc"
    done = etwdetect("scan", SAMPLE, *options, "--format", form)
    assert done.out.splitlines()[0] in (ROOT / "docs" / "reference" / "formats.md").read_text("utf-8").splitlines()


def test_times_are_in_the_readers_zone(etwdetect):
    done = etwdetect("scan", SAMPLE, "--format", "classic", env={**os.environ, "TZ": "XXX-3"})
    assert done.out.startswith("16:08:15.280: ")


def test_a_trace_over_midnight_shows_the_date(etwdetect, tmp_path):
    events = [*attack(START + 86_399 * SECOND), ThreadStart(START + 86_401 * SECOND, 100, 101, 200, 202)]
    done = etwdetect("scan", write_trace(tmp_path / "a.etl", events), "--utc")
    assert [line[:24] for line in done.out.splitlines()] == [
        "2020-05-12 23:59:59.000:",
        "2020-05-13 00:00:01.000:",
    ]


def test_json_reads_back_and_writes_the_same_bytes(etwdetect):
    lines = etwdetect("scan", SAMPLE, "--format", "json").out.splitlines()
    assert [to_json(from_json(line)) for line in lines] == lines
    record = json.loads(lines[0])
    expected = {
        "SchemaVersion": 2,
        "Detector": "etw",
        "Time": "132337624952800000",
        "UtcTime": "2020-05-12 13:08:15.280",
        "SourceProcessId": 7392,
        "SourceThreadId": 4788,
        "SourceImage": "C:\\Windows\\System32\\windbg.exe",
        "TargetProcessId": 8336,
        "TargetImage": "C:\\Windows\\System32\\notepad.exe",
        "NewThreadId": 9384,
        "StartAddress": "0x00007FFC6E27D3F0",
        "StartModule": "C:\\Windows\\System32\\ntdll.dll",
        "StartModuleOffset": "0xCD3F0",
        "Evidence": [],
    }
    assert {name: record[name] for name in expected} == expected


def test_csv_has_a_header_and_a_row_each(etwdetect):
    rows = list(csv.DictReader(io.StringIO(etwdetect("scan", SAMPLE, "--format", "csv").out)))
    assert [row["NewThreadId"] for row in rows] == ["9384", "13288"]


def test_a_quiet_trace_prints_nothing_on_standard_output(etwdetect):
    done = etwdetect("scan", QUIET)
    assert (done.status, done.out) == (0, "")
    assert "0 remote threads in 5 thread starts" in done.err


def test_exit_code_tells_found_from_not_found(etwdetect, tmp_path):
    lossy = write_trace(tmp_path / "lossy.etl", attack(), events_lost=3)
    assert etwdetect("scan", SAMPLE, "--exit-code").status == 10
    assert etwdetect("scan", lossy, "--exit-code").status == 11
    assert etwdetect("scan", SAMPLE, tmp_path / "none.etl", "--exit-code").status == 11
    assert etwdetect("scan", QUIET, "--exit-code").status == 0


def test_the_sum_of_several_inputs_is_the_worst_and_all_are_done(etwdetect, tmp_path):
    lossy = write_trace(tmp_path / "lossy.etl", attack(), events_lost=3)
    assert etwdetect("scan", QUIET, lossy).status == 3
    done = etwdetect("scan", tmp_path / "none.etl", lossy, SAMPLE)
    assert done.status == 1
    assert len(done.out.splitlines()) == 3
    assert "none.etl: cannot be opened" in done.err


def test_lost_events_are_told_and_stand_in_the_evidence(etwdetect, tmp_path):
    done = etwdetect("scan", write_trace(tmp_path / "lossy.etl", attack(), events_lost=3, buffers_lost=2))
    assert done.status == 3
    assert "[events-lost:3, buffers-lost:2]" in done.out
    assert "3 events and 2 buffers were lost" in done.err


def test_a_trace_without_process_and_thread_events_cannot_show_anything(etwdetect, tmp_path):
    done = etwdetect("scan", write_trace(tmp_path / "empty.etl", []))
    assert done.status == 3
    assert "has no process or thread events, so it can't show a remote thread" in done.err


def test_an_unknown_version_of_process_start_still_feeds_the_rule(etwdetect, tmp_path):
    path = tmp_path / "v99.etl"
    start, first = program_start(START + 5 * SECOND, 300, 301)
    with path.open("w+b") as file, TraceWriter(file, TraceOptions(START)) as writer:
        writer.write(encode(start)._replace(version=99, payload=(300).to_bytes(4, "little") + b"?" * 40))
        writer.write(encode(first))
    done = etwdetect("scan", path, "--stats")
    assert (done.status, done.out) == (0, "")
    assert "1 ProcessStart events have the unknown version 99" in done.err
    assert "unknown versions" in done.err


def test_a_payload_too_short_for_its_version_is_named_with_its_offset(etwdetect, tmp_path):
    path = tmp_path / "short.etl"
    with path.open("w+b") as file, TraceWriter(file, TraceOptions(START, buffer_size=4096)) as writer:
        for event in attack():
            writer.write(encode(event))
        raw = encode(ThreadStart(START + 11 * SECOND, 100, 101, 200, 202))
        at = 4096 + 72 + sum(len_of(event) for event in attack())
        writer.write(raw._replace(payload=raw.payload[:20]))
    done = etwdetect("scan", path)
    assert done.status == 3
    assert f"short.etl: offset {at:#x}: ThreadStart version 1: a payload of 20 bytes" in done.err
    assert "evil.exe -> victim.exe" in done.out


def len_of(event):
    size = 80 + len(encode(event).payload)
    return size + -size % 8


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (("--pid", "8336"), 2),
        (("--pid", "1"), 0),
        (("--source-pid", "7392"), 2),
        (("--source-pid", "8336"), 0),
        (("--target-pid", "8336", "--target-pid", "5"), 2),
        (("--target-pid", "7392"), 0),
        (("--since", "2020-05-12T13:08:58.660"), 1),
        (("--until", "2020-05-12T13:08:58.660"), 1),
        (("--until", "2020-05-12T13:08:58.661Z"), 2),
        (("--since", "2020-05-12T15:08:58.660+02:00"), 1),
    ],
)
def test_filters_show_what_they_say(etwdetect, arguments, shown):
    done = etwdetect("scan", SAMPLE, "--utc", *arguments)
    assert len(done.out.splitlines()) == shown
    assert (f"({2 - shown} filtered out)" in done.err) == (shown < 2)


def test_a_filter_that_makes_no_sense_is_a_usage_error(etwdetect):
    assert etwdetect("scan", SAMPLE, "--since", "yesterday").status == 2
    assert etwdetect("scan", SAMPLE, "--pid", "-1").status == 2
    assert etwdetect("scan").status == 2


def test_a_directory_means_all_traces_in_it(etwdetect):
    assert len(etwdetect("scan", ROOT / "samples").out.splitlines()) == 2


def test_gz_and_zip_around_a_trace_are_opened(etwdetect, tmp_path):
    (tmp_path / "a.etl.gz").write_bytes(gzip.compress(SAMPLE.read_bytes()))
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(SAMPLE, "inner/one.etl")
        archive.write(QUIET, "inner/two.etl")
        archive.writestr("readme.txt", "no trace")
    done = etwdetect("scan", tmp_path)
    assert done.status == 0
    assert len(done.out.splitlines()) == 4
    assert "a.zip!inner/two.etl: 0 remote threads" in done.err


def test_a_bomb_is_read_no_further_than_any_trace_would_go(etwdetect, tmp_path):
    packed = tmp_path / "bomb.etl.gz"
    with gzip.open(packed, "wb") as file:
        file.write(SAMPLE.read_bytes())
        for _ in range(200):
            file.write(bytes(1 << 20))
    done = etwdetect("scan", packed, "--utc")
    assert done.status == 3
    assert "unpacks to more than 67,108,864 bytes" in done.err
    assert done.out.startswith(BOOK_LINES[0])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.etl", b"", "is empty"),
        ("text.etl", b"Dear diary, " * 50, "is not a trace"),
        ("short.etl", SAMPLE.read_bytes()[:50], "is not a trace: it is shorter than one buffer's header"),
        ("broken.zip", b"PK\x03\x04" + b"x" * 100, "is a .zip that cannot be read"),
        ("broken.gz", b"\x1f\x8b" + b"x" * 100, "cannot be unpacked"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_trace_is_said_in_one_sentence(etwdetect, tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    done = etwdetect("scan", path)
    assert (done.status, done.out) == (1, "")
    assert f"{name}: {message}" in done.err
    assert len(done.err.splitlines()) == 1


def test_a_directory_without_traces_is_an_error(etwdetect, tmp_path):
    done = etwdetect("scan", tmp_path)
    assert done.status == 1
    assert "is a directory with no input (.etl, .evtx, .jsonl," in done.err


def test_a_trace_cut_short_still_shows_what_came_before(etwdetect, tmp_path):
    cut = tmp_path / "cut.etl"
    cut.write_bytes(SAMPLE.read_bytes()[:-7000])
    done = etwdetect("scan", cut, "--utc")
    assert done.status == 3
    assert "the file ends inside the buffer at offset 0x4000" in done.err
    assert BOOK_LINES[1] in done.out


HOSTILE = [
    "\x1b[2J\x1b]0;owned\x07.exe",
    "two\nlines\r.exe",
    "half\ud800.exe",
    "=cmd|'/c calc'!A0",
    "<script>alert(1)</script>",
    "\u202egnp.exe",
    "x" * 32_000,
]


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: ascii(name)[:40])
@pytest.mark.parametrize("form", ["text", "classic", "json", "csv"])
def test_a_hostile_name_comes_out_harmless(etwdetect, tmp_path, form, name):
    path = write_trace(tmp_path / "hostile.etl", attack(source=name))
    done = etwdetect("scan", path, "--format", form)
    assert done.status == 0
    assert len(done.out.splitlines()) == (2 if form == "csv" else 1)
    out = done.out.removeprefix("\ufeff") if form == "csv" else done.out  # it tells spreadsheets the encoding
    assert all(char.isprintable() or char == "\n" for char in out)
    if form == "csv":
        row = next(csv.DictReader(io.StringIO(out)))
        assert row["SourceImage"][0] not in "=+-@"
    if form == "json":
        assert json.loads(done.out)["SourceImage"] == name


def test_consecutive_files_join_to_one_session(etwdetect, tmp_path):
    start, first = program_start(START + 5 * SECOND, 300, 301)
    one = write_trace(tmp_path / "1.etl", [start])
    two = write_trace(tmp_path / "2.etl", [first])
    assert len(etwdetect("scan", one, two).out.splitlines()) == 1
    assert etwdetect("scan", two, one, "--join").out == ""


def test_output_goes_to_a_file_and_never_over_an_input(etwdetect, tmp_path):
    trace = tmp_path / "a.etl"
    shutil.copy(SAMPLE, trace)
    done = etwdetect("scan", trace, "--utc", "--format", "classic", "-o", tmp_path / "out.txt")
    assert (done.status, done.out) == (0, "")
    assert (tmp_path / "out.txt").read_text().splitlines() == BOOK_LINES
    done = etwdetect("scan", trace, "--output", trace)
    assert done.status == 2
    assert trace.read_bytes() == SAMPLE.read_bytes()


def test_stats_count_what_was_seen(etwdetect, tmp_path):
    events = [*program_start(START + 5 * SECOND, 300, 301), *attack()]
    events += [
        ThreadStart(START + 20 * SECOND, 4, 8, 300, 302),
        ThreadStart(START + 21 * SECOND, 300, 301, 300, 303),
    ]
    events += [ThreadStart(START + 22 * SECOND, 0xFFFFFFFF, 0xFFFFFFFF, 300, 304)]
    done = etwdetect("scan", write_trace(tmp_path / "a.etl", events, cpus=3), "--stats")
    rows = dict(line.rsplit(None, 1) for line in done.err.splitlines() if "  " in line)
    rows = {label.strip(): value for label, value in rows.items()}
    assert {key: rows[key] for key in ("own", "first", "excluded", "unknown creator", "remote")} == dict(
        own="1", first="1", excluded="1", **{"unknown creator": "1"}, remote="1"
    )
    assert (rows["ThreadStart"], rows["ProcessStart"], rows["ProcessRundown"]) == ("5", "1", "2")


@pytest.mark.parametrize("arguments", [("",), (SAMPLE, "-o", "")], ids=["input", "output"])
def test_an_empty_path_is_wrong_usage_and_not_this_folder(etwdetect, arguments):
    done = etwdetect("scan", *arguments)
    assert done.status == 2
    assert done.err.endswith(": the path is empty\n")


@pytest.mark.parametrize("command", ["scan", "events"])
def test_a_dash_as_output_is_standard_output(etwdetect, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sample = Path(SAMPLE).absolute()
    assert etwdetect(command, sample, "-o", "-").out == etwdetect(command, sample).out != ""
    assert not list(tmp_path.iterdir())


def test_a_reader_that_goes_away_ends_the_scan_quietly(tmp_path):
    events = [event for number in range(5000) for event in attack(START + (10 + number) * SECOND)]
    path = write_trace(tmp_path / "many.etl", events)
    command = [sys.executable, "-m", "etwdetect", "scan", path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read().decode()
    assert process.returncode == 0
    assert "Traceback" not in err
    assert "Broken" not in err
    assert err.rstrip().endswith("many.etl: not all of it is shown, as the output ended")


def test_more_processes_than_the_table_holds_are_told(etwdetect, tmp_path):
    starts = [ProcessStart(START + number, 100, 101, 1000 + number, 100) for number in range(16_385)]
    late = ThreadStart(START + 30 * SECOND, 100, 101, 1000, 5)
    done = etwdetect("scan", write_trace(tmp_path / "a.etl", [*starts, late]))
    assert "more than 16,384 processes waited for their first thread; 1 were evicted from the table" in done.err
    assert "[table-overflow]" in done.out


def test_version_and_help_are_there(etwdetect):
    assert etwdetect("--version").out.startswith("etwdetect, version ")
    assert "scan" in etwdetect("--help").out
    assert etwdetect("no-such-command").status == 2


def test_thread_starts_that_two_providers_tell_of_count_once(etwdetect, tmp_path):
    path = tmp_path / "both.etl"
    start, first = program_start(START + 5 * SECOND, 300, 301)
    with path.open("w+b") as file, TraceWriter(file, TraceOptions(START)) as writer:
        for event in (start, first, *attack()):
            raw = encode(event)
            writer.write(raw)
            if isinstance(event, ThreadStart):
                classic = raw._replace(provider=THREAD, id=0, opcode=1, version=2, time=raw.time + 3)
                writer.write(classic, header_type=SYSTEM64)
    done = etwdetect("scan", path)
    assert done.status == 0
    assert len(done.out.splitlines()) == 1
    assert "2 thread starts are told twice by two providers; each counts once" in done.err


def test_a_zip_member_that_could_fill_the_memory_is_refused(etwdetect, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_BZIP2) as archive:
        archive.write(SAMPLE, "a.etl")
    done = etwdetect("scan", tmp_path / "a.zip")
    assert done.status == 1
    assert "a.zip!a.etl: is packed with bzip2, and only stored and deflated members are read" in done.err


def test_an_address_too_wide_for_a_32_bit_trace_reads_back_and_writes_the_same_bytes(etwdetect, tmp_path):
    path = write_trace(tmp_path / "32.etl", attack(), pointer_size=4)
    line = etwdetect("scan", path, "--format", "json").out.rstrip("\n")
    assert to_json(from_json(line)) == line


def read_so_far(process, path):
    """Return how much of *path* the process has read, in bytes."""
    for link in Path(f"/proc/{process.pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            if link.readlink() == path:
                return int(Path(f"/proc/{process.pid}/fdinfo/{link.name}").read_text().split()[1])
    return 0


@pytest.mark.skipif(
    sys.platform == "win32" or not Path("/proc/self/fdinfo").is_dir(),
    reason="this system does not tell what a process reads",
)
def test_an_interrupted_scan_prints_what_it_read_so_far(tmp_path):
    path = write_trace(tmp_path / "long.etl", attack(), buffer_size=4096)
    with_events = path.stat().st_size
    with path.open("ab") as file:
        size = file.truncate(40_000_000_000)  # sparse: unused space that takes minutes to step over
    command = [sys.executable, "-m", "etwdetect", "scan", path, "--utc"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        # It is at the end for a moment, before it reads, to learn the size.
        while process.poll() is None and not 2 * with_events < read_so_far(process, path) < size:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert "evil.exe -> victim.exe" in out
    assert "long.etl: interrupted: what was not read by then is not in the result" in err
    assert (process.returncode, "Traceback" in err) == (3, False)


def test_an_interruption_before_the_reading_is_said(monkeypatch, capsys):
    def interrupted(*_arguments, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(scan, "Inputs", interrupted)
    assert main(["scan", str(SAMPLE)]) == 1
    assert capsys.readouterr() == ("", "\netwdetect: interrupted\n")  # the terminal has ^C in that line


@needs_a_full_disk
@pytest.mark.parametrize("form", ["text", "csv"])
def test_a_full_disk_under_the_result_is_an_error(form):
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "etwdetect", "scan", SAMPLE, "--format", form]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.returncode == 1
    # Nothing else: how much was read until then says nothing of the trace.
    assert done.stderr == (
        "etwdetect: the result cannot be written: No space left on device\n"
        f"etwdetect: {SAMPLE}: not all of it is shown, as the output ended\n"
    )


@needs_a_full_disk
@pytest.mark.parametrize("form", sorted(form for form in FORMATS if not needs_a_file(form)))
def test_an_output_file_that_cannot_be_written_is_an_error_in_every_format(etwdetect, form):
    done = etwdetect("scan", SAMPLE, "--format", form, "--output", "/dev/full")
    assert done.status == 1
    assert done.err.count("the result cannot be written: No space left on device") == 1
    assert "Exception ignored" not in done.err


@pytest.mark.slow
@needs_numpy
@pytest.mark.skipif(sys.platform == "win32", reason="limits a POSIX process")
def test_no_room_for_the_temporary_file_is_said_of_the_trace_and_the_others_are_done(tmp_path):
    from etwdetect.offline.runs import IN_MEMORY  # noqa: PLC0415 (it loads numpy)

    many = [ThreadStart(START + number, 100, 101, 100, 102) for number in range(IN_MEMORY + 50_000)]
    path = write_trace(tmp_path / "many.etl", many)
    # Without -B, the limit would cut the modules that Python compiles, and no other process could import them.
    command = f'ulimit -f 1; "{sys.executable}" -B -m etwdetect scan "{path}" "{SAMPLE}" --utc'
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120, check=False)
    assert "many.etl: the temporary file cannot be written: File too large" in done.stderr
    assert BOOK_LINES[0] in done.stdout
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_pipe_is_not_waited_for(etwdetect, tmp_path):
    os.mkfifo(tmp_path / "pipe.etl")
    done = etwdetect("scan", tmp_path / "pipe.etl")
    assert done.status == 1
    assert "pipe.etl: is neither a file nor a directory" in done.err


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_an_input_that_may_not_be_read_keeps_no_other_from_being_read(etwdetect, tmp_path):
    (tmp_path / "secret.etl").write_bytes(SAMPLE.read_bytes())
    (tmp_path / "secret.etl").chmod(0)
    done = etwdetect("scan", tmp_path / "secret.etl", SAMPLE)
    assert (done.status, len(done.out.splitlines())) == (1, 2)
    assert "secret.etl: cannot be opened: Permission denied" in done.err


@pytest.mark.parametrize("command", [("scan",), ("explain",), ("report", "-o", "page.html"), ("events",)])
def test_a_file_of_a_directory_that_cannot_be_read_keeps_no_other_from_being_read(etwdetect, tmp_path, command):
    folder = tmp_path / "traces"
    folder.mkdir()
    (folder / "a.zip").write_bytes(b"PK\3\4 and no more")
    write_trace(folder / "b.etl", attack())
    name, *options = command
    options = [str(tmp_path / each) if each.endswith(".html") else each for each in options]
    done = etwdetect(name, folder, *options)
    assert done.status == 1
    assert "a.zip: is a .zip that cannot be read" in done.err
    assert "b.etl: 1 remote thread in 1 thread start" in done.err or "b.etl: 3 of 4 events written" in done.err


@pytest.mark.skipif(sys.platform == "win32", reason="says so in other words")
@pytest.mark.parametrize("form", ["text", "sqlite"])
def test_an_output_path_that_the_system_refuses_to_look_at_is_wrong_usage(etwdetect, tmp_path, form):
    done = etwdetect("scan", SAMPLE, "--format", form, "--output", tmp_path / ("x" * 300))
    assert (done.status, done.out) == (2, "")
    assert "cannot be written: " in done.err
