"""Standard streams that are closed, full, or that nobody reads, as a shell makes them for a command."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import needs_a_full_disk

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="runs a shell")

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "samples" / "windbg-attach.etl"

PRINTING = ["--help", "--version", "scan --help", "scan SAMPLE", "scan SAMPLE --format csv", "explain SAMPLE",
            "events SAMPLE", "parity scenarios list --scenarios FEW"]  # fmt: skip
"""Commands that print on standard output."""

SCENARIO = ROOT / "parity_tests" / "scenarios" / "the-five-example-lines.toml"


@pytest.fixture(params=["buffered", "unbuffered"])
def shell(request, tmp_path):
    """Run etwdetect with these arguments and redirections in a shell."""
    few = tmp_path / "few"
    few.mkdir()
    shutil.copy(SCENARIO, few)

    def run(arguments):
        switch = "-u " if request.param == "unbuffered" else ""
        arguments = arguments.replace("SAMPLE", f"{SAMPLE}").replace("FEW", f"{few}")
        command = f'"{sys.executable}" {switch}-m etwdetect {arguments}'
        done = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {command}"],
            cwd=ROOT, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stderr
        assert "Exception ignored" not in done.stderr
        return done

    return run


@pytest.mark.slow
@pytest.mark.parametrize("arguments", PRINTING)
def test_a_closed_standard_output_is_an_error_in_one_sentence(shell, arguments):
    done = shell(f"{arguments} >&-")
    assert done.returncode == 1
    assert done.stderr.count("etwdetect: the result cannot be written: Bad file descriptor\n") == 1


@pytest.mark.slow
@needs_a_full_disk
@pytest.mark.parametrize("arguments", PRINTING)
def test_a_full_disk_under_standard_output_is_an_error_in_one_sentence(shell, arguments):
    done = shell(f"{arguments} >/dev/full")
    assert done.returncode == 1
    assert done.stderr.count("etwdetect: the result cannot be written: No space left on device\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("arguments", PRINTING)
def test_a_reader_that_goes_away_is_no_error(shell, arguments):
    done = shell(f"{arguments} | true")
    assert done.returncode == 0
    assert "cannot be written" not in done.stderr


@pytest.mark.parametrize("redirection", ["2>&-", pytest.param("2>/dev/full", marks=needs_a_full_disk)])
def test_what_cannot_be_said_on_standard_error_changes_neither_the_result_nor_the_status(shell, redirection):
    done = shell(f"scan no-such-file SAMPLE {redirection}")
    assert (done.returncode, len(done.stdout.splitlines())) == (1, 2)
    assert shell(f"scan SAMPLE --stats {redirection}").returncode == 0


@pytest.mark.parametrize("redirection", ["2>&-", pytest.param("2>/dev/full", marks=needs_a_full_disk)])
def test_wrong_usage_is_never_told_on_standard_output(shell, redirection):
    done = shell(f"scan --no-such-option {redirection}")
    assert (done.returncode, done.stdout) == (2, "")


def test_a_command_that_prints_nothing_needs_no_standard_stream(shell, tmp_path):
    assert shell(f"report SAMPLE -o {tmp_path}/page.html <&- >&- 2>&-").returncode == 0
    assert "</html>" in (tmp_path / "page.html").read_text("utf-8")


def test_an_output_file_never_gets_the_place_of_a_closed_standard_stream(shell, tmp_path):
    done = shell(f"scan no-such-file SAMPLE -o {tmp_path}/found.txt <&- >&- 2>&-")
    assert done.returncode == 1
    assert len((tmp_path / "found.txt").read_text("utf-8").splitlines()) == 2
