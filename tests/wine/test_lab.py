"""What the lab is: the tests beside this one are worth something only in a real Windows CPython."""

import json
import subprocess
import sys

import pytest

from tools.windows_lab import LabError, LabUnavailableError, debian, open_lab
from tools.windows_lab.lab import PROJECT
from tools.windows_lab.steps import run_step
from tools.windows_lab.windows_python import requirements

PROGRAM = """
import importlib.metadata, json, platform, struct, sys
import click, etw, etwdetect, hypothesis, psutil, pyfwnt, pytest
json.dump({
    "system": sys.platform,
    "bits": struct.calcsize("P") * 8,
    "version": list(sys.version_info[:2]),
    "compiler": platform.python_compiler(),
    "release": platform.release(),
    "etwdetect": etwdetect.__file__,
    "installed": sorted(each.name.lower() for each in importlib.metadata.distributions()),
}, sys.stdout)
"""


def test_it_is_a_real_windows_cpython_with_all_that_the_project_needs(lab):
    ran = lab.run_python("-c", PROGRAM)
    assert ran.returncode == 0, ran.stderr
    said = json.loads(ran.stdout)
    assert (said["system"], said["bits"], said["version"], said["release"]) == ("win32", 64, [3, 13], "10")
    assert said["compiler"].startswith("MSC v.")
    assert said["etwdetect"].endswith(r"\etwdetect\__init__.py")
    wanted = {line.partition(">")[0].partition("~")[0].lower() for line in requirements(PROJECT)}
    assert {"pywintrace", "libfwnt-python", "numpy", "psutil"} <= wanted <= set(said["installed"])


def test_a_booted_lab_runs_a_program_and_passes_on_what_it_says(lab):
    assert lab.run_python("-c", "print(6 * 7)").stdout == "42\n"


def test_what_takes_too_long_is_ended(lab):
    with pytest.raises(subprocess.TimeoutExpired):
        lab.run_python("-c", "import time; time.sleep(60)", timeout=2)


def test_the_lab_is_one_programs_at_a_time(lab, monkeypatch):
    monkeypatch.setattr("tools.windows_lab.lab._LOCK_SECONDS", 0.1)
    with pytest.raises(LabError, match="still in use"), open_lab():
        pass
    assert lab.run_python("-c", "").returncode == 0


def test_a_step_that_fails_says_what_it_said_last():
    program = "print('first'); print('the reason'); raise SystemExit(3)"
    with pytest.raises(LabError, match=r"^trying: exit status 3: the reason$"):
        run_step("trying", (sys.executable, "-c", program), timeout=30)
    with pytest.raises(LabError, match=r"^trying: not done after 0 s$"):
        run_step("trying", (sys.executable, "-c", "import time; time.sleep(60)"), timeout=0.2)


def test_a_machine_without_the_programs_is_told_which(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabUnavailableError, match=r"wine, wineserver, .* not found, and this is no Debian"):
        debian.require_programs(install=True)
    (tmp_path / "apt-get").touch(mode=0o755)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(LabUnavailableError, match="as root: apt-get install wine "):
        debian.require_programs(install=True)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    with pytest.raises(LabUnavailableError, match=r"run: python -m tools\.windows_lab$"):
        debian.require_programs(install=False)
