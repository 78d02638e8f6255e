"""What runs in a forked process does what it does in one that was started."""

import os
import subprocess
import sys

import pytest

from tests import forked

SAMPLE = "samples/windbg-attach.etl"
COMMANDS = {
    "a result": ["scan", SAMPLE],
    "an error": ["scan", "no-such.etl"],
    "help": ["scan", "--help"],
    "wrong usage": ["scan", "--no-such-option"],
    "several jobs": ["scan", "--jobs", "2", SAMPLE, SAMPLE],
}


@pytest.mark.skipif(not forked.POSSIBLE, reason="no process can be forked here")
@pytest.mark.parametrize("name", COMMANDS)
def test_it_ends_and_prints_as_one_that_was_started(name):
    command = [sys.executable, "-m", "etwdetect", *COMMANDS[name]]
    started = subprocess.run(command, capture_output=True, check=False, timeout=300)
    found = forked.run(COMMANDS[name], timeout=300)
    assert (found.returncode, found.stdout, found.stderr) == (started.returncode, started.stdout, started.stderr)


@pytest.mark.skipif(not forked.POSSIBLE, reason="no process can be forked here")
def test_it_has_the_environment_and_the_folder_of_its_start(monkeypatch, tmp_path):
    monkeypatch.setenv("TZ", "XXX-3")
    sample = os.path.abspath(SAMPLE)  # noqa: PTH100 (as a user types it)
    monkeypatch.chdir(tmp_path)
    assert forked.run(["scan", sample, "-o", "out.txt"], timeout=300).returncode == 0
    text = (tmp_path / "out.txt").read_text(encoding="utf-8")
    monkeypatch.setenv("TZ", "UTC")
    assert forked.run(["scan", sample, "-o", "out.txt"], timeout=300).returncode == 0
    assert (tmp_path / "out.txt").read_text(encoding="utf-8") != text
