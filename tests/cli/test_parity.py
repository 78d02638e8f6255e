"""`etwdetect parity` as a user calls it."""

import gzip
import io
import json
import signal
import subprocess
import sys
import zipfile
from xml.etree import ElementTree as ET

import pytest

from etwdetect.cli.parity import show_details, show_results
from etwdetect.cli.status import Status, of_all
from etwdetect.comparison.result import Result
from etwdetect.core.rule import RemoteThread
from etwdetect.enrich.detection import Detection, Process
from etwdetect.results.record import to_json
from parity_tests.errors import BenchUnavailableError
from tests.conftest import ROOT

SAMPLE = ROOT / "samples" / "windbg-attach.etl"
ONE = RemoteThread(132_337_152_000_000_000, 100, 101, 200, 301)
TWO = RemoteThread(132_337_152_010_000_000, 100, 101, 200, 302)


simulated = pytest.mark.usefixtures("simulated_kernel")


@pytest.fixture
def output(tmp_path):
    """Write records as `scan --format json` or `driver watch --format json` do."""

    def write(name, detector, *records):
        path = tmp_path / name
        detections = (
            Detection(record, detector, Process(record.creator_pid), Process(record.pid)) for record in records
        )
        path.write_text("".join(to_json(detection) + "\n" for detection in detections))
        return path

    return write


def test_scenarios_are_listed_with_their_titles(etwdetect):
    done = etwdetect("parity", "scenarios", "list")
    assert done.status == 0
    lines = done.out.splitlines()
    assert len(lines) == len(list((ROOT / "parity_tests" / "scenarios").glob("*.toml")))
    assert any(
        line.split(None, 1) == ["thread-at-loadlibrary", "A thread that starts at LoadLibrary"] for line in lines
    )


def test_a_scenario_is_shown_in_sentences(etwdetect):
    done = etwdetect("parity", "scenarios", "show", "first-thread-by-system")
    assert done.status == 0
    for part in (
        "System makes the first thread of a process",
        "1. services begins to start service, which has no thread yet.",
        "- a thread in service (payload), made by injector [kind: start outside any image]",
        "The published driver would report instead:\n  - nothing",
    ):
        assert part in done.out


@simulated
def test_a_run_prints_a_row_for_each_scenario_and_bench(etwdetect):
    done = etwdetect("parity", "run", "windbg-attaches-to-notepad", "non-invasive-attach", "--bench", "model")
    assert done.status == 0
    assert done.err == ""
    heading, *rows = done.out.splitlines()
    assert heading.split()[:2] == ["result", "bench"]
    assert [row.split()[:3] for row in rows[:2]] == [["passed", "model", "1"], ["passed", "model", "0"]]
    assert "2 passed, 0 failed, 0 skipped" in done.out


@simulated
def test_results_are_written_as_junit_and_json(etwdetect, tmp_path):
    junit, json_file = tmp_path / "junit.xml", tmp_path / "results.json"
    done = etwdetect("parity", "run", "an-unknown-creator", "--junit", junit, "--json", json_file)
    assert done.status == 0
    assert [suite.get("name") for suite in ET.parse(junit).getroot()] == ["parity.model", "parity.file"]
    results = json.loads(json_file.read_text())["Results"]
    assert [(result["Bench"], len(result["Expected"])) for result in results] == [("model", 1), ("file", 1)]


@simulated
def test_a_scenario_that_fails_ends_with_status_1_and_says_why(etwdetect, tmp_path):
    text = (ROOT / "parity_tests" / "scenarios" / "non-invasive-attach.toml").read_text()
    (tmp_path / "wrong.toml").write_text(text.replace("invasive = false", "invasive = true"))
    done = etwdetect("parity", "run", "--scenarios", tmp_path, "--bench", "model")
    assert done.status == 1
    assert "wrong on the model bench: failed" in done.out
    assert "ETW reports 1 remote threads, expected 0" in done.out


def test_a_wrong_scenario_is_told_by_file_and_step(etwdetect, tmp_path):
    text = (ROOT / "parity_tests" / "scenarios" / "non-invasive-attach.toml").read_text()
    (tmp_path / "wrong.toml").write_text(text.replace("{ detach", "{ attach_debugger"))
    done = etwdetect("parity", "run", "--scenarios", tmp_path)
    assert done.status == 1
    assert done.out == ""
    assert done.err == (
        "etwdetect: wrong.toml: step 2 (attach_debugger): windbg is attached to notepad already\n"
    )  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "no-such-scenario"),
        ("run", "--bench", "trace"),
        ("run", "--bench", "trace", "--bench", "model", SAMPLE),
        ("run", "--bench", "no-such-bench"),
        ("run", "--scenarios", "no-such-folder"),
        ("scenarios", "show"),
        ("compare", "one.json"),
    ],
)
def test_a_wrong_command_line_is_usage(etwdetect, arguments):
    done = etwdetect("parity", *arguments)
    assert done.status == 2
    assert done.out == ""


@simulated
def test_a_trace_is_compared_on_the_trace_bench(etwdetect):
    done = etwdetect("parity", "run", "--bench", "trace", SAMPLE)
    assert done.status == 0
    assert done.out.splitlines()[1].split()[:3] == ["passed", "trace", "2"]


@simulated
def test_a_trace_that_is_none_is_an_error_and_a_damaged_one_incomplete(etwdetect, tmp_path):
    (tmp_path / "none.etl").write_text("nothing")
    damaged = bytearray(SAMPLE.read_bytes())
    damaged[8192 : 8192 + 16] = b"\xee" * 16
    (tmp_path / "damaged.etl").write_bytes(damaged)
    assert etwdetect("parity", "run", "--bench", "trace", tmp_path / "none.etl").status == 1
    done = etwdetect("parity", "run", "--bench", "trace", tmp_path / "damaged.etl")
    assert done.status == 3
    assert "could not be read" in done.out


def test_outputs_that_are_equal_pass(etwdetect, output):
    etw, driver = output("etw.json", "etw", ONE, TWO), output("driver.json", "driver", ONE, TWO)
    done = etwdetect("parity", "compare", etw, driver)
    assert done.status == 0
    assert done.out.splitlines()[1].split()[:5] == ["passed", "recorded", "2", "0", "0"]


def test_empty_outputs_are_equal_and_show_nothing(etwdetect, output):
    done = etwdetect("parity", "compare", output("etw.json", "etw"), output("driver.json", "driver"))
    assert done.status == 0
    assert "note: neither file has a record, so nothing was compared" in done.out


@pytest.mark.slow
@simulated
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT for another process on Windows")
def test_ctrl_c_ends_a_run_after_the_scenario_at_hand_and_prints_what_was_run():
    command = [sys.executable, "-m", "etwdetect", "parity", "run"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.readline()  # the heading: the first scenario is done
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 3
    assert "interrupted: the rest was not run" in err
    assert "0 failed, 0 skipped" in out


@pytest.mark.parametrize(
    ("count", "said", "status"),
    [(1, "", Status.DONE), (2, "etwdetect: interrupted: the rest was not run\n", Status.INCOMPLETE)],
)
def test_ctrl_c_leaves_a_run_incomplete_where_something_was_left(capsys, count, said, status):
    def results():
        signal.raise_signal(signal.SIGINT)
        for number in range(count):
            yield Result(str(number), "model")

    assert of_all(show_results(results(), count, None, None), found=False) is status
    printed = capsys.readouterr()
    assert printed.err == said
    assert "1 passed" in printed.out


def test_a_bench_that_this_machine_lacks_ends_the_run_after_what_the_others_said(capsys, tmp_path):
    def results():
        yield Result("timeline", "model", complaints=("it went wrong",))
        raise BenchUnavailableError("no Windows lab")

    written = tmp_path / "results.json"
    with pytest.raises(BenchUnavailableError):
        of_all(show_results(results(), 2, None, written), found=False)
    assert "timeline on the model bench: failed\n  it went wrong" in capsys.readouterr().out
    assert [result["Subject"] for result in json.loads(written.read_text())["Results"]] == ["timeline"]


@pytest.mark.parametrize("option", ["--json", "--junit"])
def test_what_is_compared_is_not_written_over(etwdetect, output, tmp_path, option):
    etw, driver = output("etw.json", "etw", ONE), output("driver.json", "driver", ONE)
    before = etw.read_text()
    trace = tmp_path / "trace.etl"
    trace.write_bytes(SAMPLE.read_bytes())
    for arguments in (("compare", etw, driver, option, etw), ("run", "--bench", "trace", trace, option, trace)):
        done = etwdetect("parity", *arguments)
        assert (done.status, f"{option} {arguments[-1]} is one of the inputs" in done.err) == (2, True)
    assert (etw.read_text(), trace.read_bytes()) == (before, SAMPLE.read_bytes())


def test_a_scenario_that_is_skipped_takes_one_line_below_the_table(capsys):
    show_details([Result(name, "wine", skipped="no such step there") for name in ("one", "two")])
    assert capsys.readouterr().out == (
        "\none on the wine bench: skipped, no such step there\n"
        "two on the wine bench: skipped, no such step there\n"
        "\n0 passed, 0 failed, 2 skipped in 0.0 s\n  ETW     nothing\n  driver  nothing\n"
    )


def test_outputs_that_are_not_equal_fail_and_the_record_is_named(etwdetect, output):
    etw, driver = output("etw.json", "etw", ONE, TWO), output("driver.json", "driver", ONE)
    done = etwdetect("parity", "compare", etw, driver)
    assert done.status == 1
    assert "only ETW has 100:101 -> 200:302" in done.out


@pytest.mark.parametrize("name", ["driver.json", "garbage.json", "missing.json"])
def test_what_is_no_output_of_the_detector_is_told_by_its_line(etwdetect, output, tmp_path, name):
    driver = output("driver.json", "driver", ONE)
    (tmp_path / "garbage.json").write_text('{"SchemaVersion": 1}\n')
    done = etwdetect("parity", "compare", tmp_path / name, driver)
    assert done.status == 1
    assert done.out == ""
    assert name in done.err
    assert "line 1" in done.err or "cannot be opened" in done.err or "expected 'etw'" in done.err


def zip_of(*contents):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for number, content in enumerate(contents):
            archive.writestr(f"{number}.json", content)
    return packed.getvalue()


@pytest.mark.parametrize(
    "saved_as",
    [
        lambda text: text.encode("utf-16"),
        lambda text: text.replace("\n", "\r\n").encode("utf-8-sig"),
        lambda text: gzip.compress(text.encode()),
        lambda text: gzip.compress(text.encode("utf-16")),
        zip_of,
    ],
    ids=["redirected by PowerShell", "with a byte-order mark", "packed", "redirected and packed", "in an archive"],
)
def test_outputs_are_read_in_each_form_that_scan_reads(etwdetect, output, saved_as):
    etw, driver = output("etw.json", "etw", ONE, TWO), output("driver.json", "driver", ONE, TWO)
    for each in (etw, driver):
        each.write_bytes(saved_as(each.read_text()))
    done = etwdetect("parity", "compare", etw, driver)
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines()[1].split()[:5] == ["passed", "recorded", "2", "0", "0"]


def test_one_output_can_come_from_standard_input(etwdetect, output):
    etw, driver = output("etw.json", "etw", ONE), output("driver.json", "driver", ONE)
    done = etwdetect("parity", "compare", "-", driver, input=etw.read_text().encode("utf-16"))
    assert done.status == 0
    assert done.out.splitlines()[1].endswith("standard input, driver.json")
    done = etwdetect("parity", "compare", "-", "-", input=etw.read_bytes())
    assert done.status == 2
    assert "only one output can be - for standard input" in done.err


@pytest.mark.parametrize("nothing", [b"", b"\xff\xfe", b"\xef\xbb\xbf\r\n", gzip.compress(b"")])
def test_an_output_without_a_record_is_of_a_witness_that_saw_nothing(etwdetect, output, nothing):
    etw, driver = output("etw.json", "etw"), output("driver.json", "driver", ONE)
    etw.write_bytes(nothing)
    done = etwdetect("parity", "compare", etw, driver)
    assert done.status == 1
    assert "only the driver has 100:101 -> 200:301" in done.out


@pytest.mark.parametrize(
    "content",
    [
        SAMPLE.read_bytes(),
        gzip.compress(SAMPLE.read_bytes()),
        b'{"@timestamp": "2020-05-12T13:08:15.280Z"}\n',
        b"Remote Thread from 100:101 to 200:301\n",
        zip_of(),
        b"\xff\xfe\0",
    ],
    ids=["trace", "packed trace", "other JSON", "text", "empty archive", "half a character"],
)
def test_what_is_no_output_is_refused_with_what_makes_one(etwdetect, output, tmp_path, content):
    (tmp_path / "wrong").write_bytes(content)
    done = etwdetect("parity", "compare", tmp_path / "wrong", output("driver.json", "driver", ONE))
    assert (done.status, done.out) == (1, "")
    assert done.err == (
        f"etwdetect: {tmp_path / 'wrong'}: is no output that was saved with --format json; "
        "of a trace or of recorded events, `etwdetect scan --format json` makes one\n"
    )


def test_an_output_that_is_packed_and_cut_off_is_told_as_that(etwdetect, output):
    etw, driver = output("etw.json", "etw", ONE, TWO), output("driver.json", "driver", ONE)
    etw.write_bytes(gzip.compress(etw.read_bytes())[:-30])
    done = etwdetect("parity", "compare", etw, driver)
    assert (done.status, done.out) == (1, "")
    assert "etw.json: cannot be unpacked any further: " in done.err


def test_of_an_archive_with_two_outputs_none_is_taken(etwdetect, output, tmp_path):
    driver = output("driver.json", "driver", ONE)
    (tmp_path / "two.zip").write_bytes(zip_of(driver.read_text(), driver.read_text()))
    done = etwdetect("parity", "compare", tmp_path / "two.zip", driver)
    assert (done.status, done.out) == (1, "")
    assert done.err.endswith("two.zip: holds 2 inputs, and only one can be compared: unpack it\n")
