"""A clone that is told to turn line ends into those of Windows, as git for Windows is by default."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
READERS = ("test_samples.py", "test_project_files.py", "test_loading.py", "test_scripts.py")
"""Tests of files of the repository: the samples, the driver's sources, the scenarios, the report's scripts."""


def git(folder, *arguments):
    command = ["git", "-C", str(folder), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=True, timeout=120).stdout


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """Clone what is committed with this setting of core.autocrlf."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("there is no git, or this is no clone")

    def make(autocrlf):
        folder = tmp_path_factory.mktemp(f"autocrlf-{autocrlf}") / "etwdetect"
        git(ROOT, "clone", "-q", "-c", f"core.autocrlf={autocrlf}", ROOT, folder)
        return folder

    return make


@pytest.fixture(scope="module")
def of_windows(clone):
    return clone("true")


def files(folder):
    return sorted(folder / name for name in git(folder, "ls-files", "-z").decode().split("\0") if name)


def test_every_file_has_the_same_bytes_as_in_any_other_clone(clone, of_windows):
    plain = clone("false")
    here, there = files(of_windows), files(plain)
    assert [path.relative_to(of_windows) for path in here] == [path.relative_to(plain) for path in there]
    different = [
        one.name for one, other in zip(here, there, strict=True) if one.read_bytes() != other.read_bytes()
    ]
    assert different == []


def test_line_ends_are_lf_but_for_visual_studios_solution(of_windows):
    with_cr = [
        path.name for path in files(of_windows) if b"\0" not in (data := path.read_bytes()) and b"\r\n" in data
    ]
    assert with_cr == ["KDetector.sln"]


@pytest.mark.slow
def test_what_reads_files_of_the_repository_passes_there(of_windows):
    found = [path for path in files(of_windows) if path.name in READERS]
    assert {path.name for path in found} == set(READERS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--only-python", *found]
    env = {**os.environ, "PYTHONPATH": str(of_windows)}  # not the etwdetect that is installed
    done = subprocess.run(
        command, cwd=of_windows, env=env, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
