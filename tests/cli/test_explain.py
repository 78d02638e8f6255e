"""etwdetect explain, and the options that decide what is added to a detection."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from etwdetect.core.events import ImageLoad, ProcessRundown, ProcessStart, ProcessStop
from tests.conftest import needs_a_full_disk
from tests.traces_by_writer import START, attack, write_trace

ROOT = Path(__file__).parents[2]
SAMPLE, IMAGES = ROOT / "samples" / "windbg-attach.etl", ROOT / "samples" / "images"
OWN = """
[[rule]]
name = "mine"
kind = "my kind"
severity = "high"
when = { SourceFile = '\\Windows\\System32\\windbg.exe', StartFunction = ["", "Dbg*"] }
"""


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(OWN, "utf-8")
    return path


def test_it_says_which_rule_decided_and_what_each_other_one_missed(etwdetect):
    done = etwdetect("explain", SAMPLE, "--images", IMAGES, "--utc")
    lines = done.out.splitlines()
    assert lines[0].endswith("debugger break-in, ntdll.dll!DbgUiRemoteBreakin")
    assert lines[1:4] == [
        "  kind: debugger break-in; severity: low",
        "  because it starts at ntdll.dll!DbgUiRemoteBreakin, where debuggers have a process stop",
        "  break-in (kinds.toml): fits, decides kind and severity",
    ]
    assert "  kernel-start (kinds.toml): missed: StartPlace is image, must be kernel" in lines
    assert "  pool-worker (kinds.toml): missed: StartFunction is DbgUiRemoteBreakin, must be unknown" in lines
    assert "  other (kinds.toml): fits, but comes later" in lines
    assert "  no SourceUser: the trace does not tell" in lines
    assert (done.status, len([line for line in lines if not line.startswith(" ")])) == (0, 2)


@pytest.mark.parametrize("command", [("scan",), ("explain",), ("report", "-o", "page.html"), ("events",)])
def test_what_is_worth_knowing_of_a_trace_is_said_by_every_command(etwdetect, tmp_path, command):
    events = [event for event in attack() if not isinstance(event, ProcessStart | ProcessStop | ProcessRundown)]
    name, *options = command
    options = [str(tmp_path / each) if each.endswith(".html") else each for each in options]
    done = etwdetect(name, write_trace(tmp_path / "threads.etl", events), *options)
    assert "has no process events: the first thread of a new process looks remote in it" in done.err
    assert done.status == 0


def test_it_says_why_a_kind_is_not_known(etwdetect):
    lines = etwdetect("explain", SAMPLE).out.splitlines()
    assert lines[1] == "  kind: not known; severity: medium"
    assert lines[2].endswith("at which function is not known: no file: no image files were given")


def test_it_shows_what_the_filters_pass(etwdetect):
    done = etwdetect("explain", SAMPLE, "--source-pid", 1)
    assert (done.out, done.status) == ("", 0)
    assert "2 filtered out" in done.err


def test_a_rule_that_only_tells_adds_its_reason_and_one_that_raises_decides(etwdetect, own):
    rule = '[[rule]]\nname = "{0}"\nat_least = "{0}"\nreason = "{0} it says"\nwhen = {{}}\n'
    own.write_text(rule.format("informational") + rule.format("low"), "utf-8")
    lines = etwdetect("explain", SAMPLE, "--images", IMAGES, "--rules", own).out.splitlines()
    assert lines[2].endswith("; informational it says; low it says")
    assert f"  informational ({own}): fits, adds its reason" in lines
    assert f"  low ({own}): fits, decides that the severity is at least low" in lines


def test_saved_results_are_explained_as_their_trace_is(etwdetect, tmp_path):
    etwdetect("scan", SAMPLE, "--images", IMAGES, "--format", "json", "-o", tmp_path / "saved.json")
    saved, first = etwdetect("explain", tmp_path / "saved.json"), etwdetect("explain", SAMPLE, "--images", IMAGES)
    assert (saved.out, saved.status) == (first.out, 0)
    assert "debugger break-in" in saved.out


def test_the_status_for_saved_results_is_that_of_scan(etwdetect, tmp_path):
    path, record = tmp_path / "saved.json", etwdetect("scan", SAMPLE, "--format", "json").out
    for content, status in (('{"SchemaVersion": 1}\n', 1), (f'{record}{{"SchemaVersion": 1}}\n', 3), (record, 0)):
        path.write_text(content, "utf-8")
        assert etwdetect("explain", path).status == etwdetect("scan", path).status == status


@pytest.mark.parametrize("command", ["scan", "explain"])
def test_rules_of_ones_own_come_first(etwdetect, own, command):
    for images in ((), ("--images", IMAGES)):
        done = etwdetect(command, SAMPLE, "--rules", own, *images)
        assert done.out.count("my kind, ntdll.dll") == 2


def test_a_record_has_the_kind_the_reason_and_the_severity(etwdetect, own):
    record = json.loads(etwdetect("scan", SAMPLE, "--rules", own, "--format", "json").out.splitlines()[0])
    assert (record["Kind"], record["KindReason"], record["Severity"]) == (
        "my kind",
        "the rule 'mine' fits",
        "high",
    )


@pytest.mark.parametrize("command", ["scan", "explain"])
def test_a_mistake_in_the_rules_ends_the_command_with_its_place(etwdetect, own, command):
    own.write_text(OWN.replace("high", "highest"), "utf-8")
    done = etwdetect(command, SAMPLE, "--rules", own)
    assert (done.status, done.out) == (1, "")
    assert f"{own}: rule 1 ('mine'): severity: 'highest' must be one of" in done.err


@pytest.mark.parametrize(
    "options", [("--rules", "nowhere.toml"), ("--images", "nowhere"), ("--symbols", "nowhere")]
)
def test_what_is_not_there_is_an_error_of_usage(etwdetect, options):
    done = etwdetect("scan", SAMPLE, *options)
    assert (done.status, done.out) == (2, "")
    assert "nowhere" in done.err


@pytest.mark.parametrize("command", [("scan",), ("explain",), ("report", "-o", "page.html")])
def test_it_is_told_when_images_are_of_no_use(etwdetect, tmp_path, command):
    name, *options = command
    run = (name, SAMPLE, SAMPLE, *options, "--images")
    none = "etwdetect: --images: none of the images that threads start in was found"
    assert etwdetect(*run, tmp_path, cwd=tmp_path).err.splitlines()[-2] == none
    (tmp_path / "ntdll.dll").write_bytes(b"MZ")
    refused = etwdetect(*run, tmp_path, cwd=tmp_path).err.splitlines()[-2]
    assert refused.startswith("etwdetect: --images: ")
    assert refused.endswith("ntdll.dll: the file cannot be used: it is no PE image")
    assert "--images" not in etwdetect(*run, IMAGES, cwd=tmp_path).err


def test_symbols_need_images_because_these_say_which_pdb_is_their_own(etwdetect, tmp_path):
    done = etwdetect("scan", SAMPLE, "--symbols", tmp_path)
    assert (done.status, done.out) == (2, "")
    assert "--symbols needs --images" in done.err


def test_symbols_without_the_extra_are_an_error_that_names_it(tmp_path):
    code = (
        "import sys; sys.modules['purepdb'] = None; from etwdetect.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "scan", SAMPLE, "--images", IMAGES, "--symbols", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (5, "")
    assert "--symbols needs purepdb: pip install 'etwdetect[symbols]'" in done.stderr


def test_images_of_another_build_name_no_function(etwdetect, tmp_path):
    data = bytearray((IMAGES / "ntdll.dll").read_bytes())
    data[64 + 8 : 64 + 12] = b"\1\2\3\4"  # the time stamp
    (tmp_path / "ntdll.dll").write_bytes(data)
    record = json.loads(etwdetect("scan", SAMPLE, "--images", tmp_path, "--format", "json").out.splitlines()[0])
    assert "StartFunction" not in record
    why = "the file is of another build: its time stamp is 0x4030201, not 0x5eb9d9c0"
    assert record["Absent"]["StartFunction"] == why


def test_a_hostile_name_is_harmless_in_an_explanation(etwdetect, tmp_path):
    name = "\\x\x1b[2J\u202e\n<script>\ud800.dll"
    events = [ImageLoad(START + 5, 200, 0, 1 << 47, image=name), *attack(source=name)]
    done = etwdetect("explain", write_trace(tmp_path / "a.etl", events), "--images", IMAGES)
    assert "\x1b" not in done.out
    assert "\\x1b[2J\\u202e\\n<script>\\ud800.dll" in done.out


@needs_a_full_disk
def test_a_full_disk_under_the_explanations_is_an_error():
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "etwdetect", "explain", SAMPLE]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "the result cannot be written: No space left on device" in done.stderr


@pytest.mark.parametrize("suffix", ["etl", "json"])
def test_it_ends_quietly_when_nobody_reads_any_more(etwdetect, tmp_path, suffix):
    given = SAMPLE
    if suffix == "json":
        given = tmp_path / "many.json"
        given.write_text(etwdetect("scan", SAMPLE, "--format", "json").out * 200, "ascii")
    command = [sys.executable, "-m", "etwdetect", "explain", *[given] * 20]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        err = process.stderr.read()
    assert (process.returncode, err) == (0, b"")


def test_a_call_stack_stands_on_one_line_before_the_rules_that_ask_for_it(etwdetect, tmp_path):
    recorded = tmp_path / "events.jsonl"
    assert etwdetect("events", SAMPLE, "-o", recorded).status == 0
    rows = [json.loads(line) for line in recorded.read_text("utf-8").splitlines()]
    of_record = {"kind": "ThreadStart", "creator_pid": 7392, "pid": 8336}
    at = next(at for at, row in enumerate(rows) if of_record.items() <= row.items())
    ends = {name: rows[at][name] for name in ("host", "recording", "seq", "time", "creator_pid", "creator_tid")}
    stack = ends | {"schema_version": 2, "kind": "CallStack", "kernel_frames": "0xFFFFF80000000001"}
    rows.insert(at, stack | {"seq": len(rows), "no_user": "it is late"})
    recorded.write_text("\n".join(map(json.dumps, rows)) + "\n", "utf-8")
    lines = etwdetect("explain", recorded).out.splitlines()
    assert lines[3] == "  stack: not there; in the kernel: UNKNOWN(FFFFF80000000001)"
    assert "  nested (kinds.toml): missed: CallNested is no, must be yes" in lines
    assert "  no CallTrace: it is late" in lines
