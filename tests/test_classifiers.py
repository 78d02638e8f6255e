"""The classifiers name what is tested: nox takes the versions of Python from them."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
LAB = ROOT / "tools" / "windows_lab" / "windows_python.py"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def named(prefix):
    return [line.removeprefix(prefix) for line in PROJECT["classifiers"] if line.startswith(prefix)]


def versions():
    return named("Programming Language :: Python :: 3.")


def test_they_name_every_python_from_the_least_that_is_required():
    least = int(PROJECT["requires-python"].removeprefix(">=3."))
    assert versions() == [str(least + number) for number in range(len(versions()))]


def test_windows_is_named_and_so_is_the_python_that_the_windows_lab_has():
    embedded = re.search(r'^VERSION: Final = "3\.(\d+)"$', LAB.read_text("utf-8"), re.MULTILINE)
    assert named("Operating System :: ") == ["Microsoft :: Windows", "POSIX :: Linux"]
    assert embedded[1] in versions()
