"""The commands of docs/user/first-run.md and of the workflow's live job, as they stand there."""

import re
import subprocess
import sys
from pathlib import Path

from etwdetect.core.events import ThreadStart
from etwdetect.sources.decode.encode import encode
from tests.running import until

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "user" / "first-run.md"
WORKFLOW = ROOT / ".github" / "workflows" / "windows.yml"
COMMANDS = [command.split() for command in re.findall(r"`python -m etwdetect ([^`]+)`", PAGE.read_text("utf-8"))]
IMPATIENT = {"30": "2", "60": "2", "10": "0.5"}
"""The page's durations, and those here, in seconds."""


def start(folder, command, module="etwdetect"):
    arguments = [IMPATIENT.get(word, word) for word in command]
    return subprocess.Popen(
        (sys.executable, "-m", module, *arguments),
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
                until(
                    lambda: any(each.log_file and each.enabled_providers for each in machine.sessions()),
                    "a recording",
                )
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


def test_so_do_those_of_the_workflow(machine, tmp_path):  # noqa: ARG001
    commands = re.findall(r"run: python -m (etwdetect|tests\.\S+) ?(.*)", WORKFLOW.read_text("utf-8"))
    assert [f"{module} {arguments}".split()[:2] for module, arguments in commands] == [
        ["etwdetect", "doctor"],
        ["etwdetect", "record"],
        ["etwdetect", "scan"],
        ["etwdetect", "scan"],
        ["tests.windows_live.leftovers"],
    ]
    for module, arguments in commands:
        with start(tmp_path, arguments.split(), module) as process:
            _, errors = process.communicate(timeout=60)
        # Nobody did anything while it recorded: such a trace can't show anything.
        assert process.returncode == (3 if "scan recording.etl" in arguments else 0), errors
