"""The commands of docs/user/first-run.md, as a new user types them, on a sound machine."""

import re
import subprocess
import sys
from pathlib import Path

from etwdetect.core.events import ThreadStart
from etwdetect.sources.decode.encode import encode
from tests.running import until

PAGE = Path(__file__).resolve().parents[3] / "docs" / "user" / "first-run.md"
COMMANDS = [command.split() for command in re.findall(r"`python -m etwdetect ([^`]+)`", PAGE.read_text("utf-8"))]
IMPATIENT = {"30": "2", "60": "2", "10": "0.5"}
"""The page's durations, and those here, in seconds."""


def start(folder, command):
    arguments = [IMPATIENT.get(word, word) for word in command]
    return subprocess.Popen(
        (sys.executable, "-m", "etwdetect", *arguments),
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def test_the_page_has_six_commands():
    rows = re.findall(r"^\| (\d) \| `", PAGE.read_text("utf-8"), re.MULTILINE)
    assert rows == ["1", "2", "3", "4", "5", "6"]
    assert [command[0] for command in COMMANDS] == ["doctor", "record", "scan", "monitor"]


def test_they_lead_from_nothing_to_a_verdict(machine, tmp_path):
    said = {}
    for command in COMMANDS:
        with start(tmp_path, command) as process:
            if command[0] == "record":  # the page says: start and end a program meanwhile
                until(lambda: any(each.log_file for each in machine.sessions()), "a recording")
                machine.log([thread_of_a_new_program()])
            out, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        said[command[0]] = out, errors
    assert said["doctor"][0].splitlines()[-1] == "ok      verdict: live sessions work here"
    assert "0 events and 0 buffers lost" in said["record"][1]
    assert "thread start" in said["scan"][1]
    assert "a second)" in said["monitor"][1]
    assert {file.name for file in tmp_path.iterdir()} == {"doctor.zip", "recording.etl"}


def thread_of_a_new_program():
    return encode(ThreadStart(0, 400_004, 400_012, 400_004, 1))
