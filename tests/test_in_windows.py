"""Runs the tests that need nothing but Python in Windows CPython too, in the lab, a folder at a time."""

from pathlib import Path

import pytest

from tests.windows_cpython import run_pytest

TESTS = Path(__file__).parent
FOLDERS = ("comparison", "core", "enrich", "kdetector", "live", "offline", "results", "sources")
"""Those in which all tests are known to hold there."""


@pytest.mark.parametrize("folder", FOLDERS)
def test_they_pass_in_windows_cpython(lab, note, folder):
    summary = run_pytest(lab, TESTS / folder, "--only-python", "-m", "not slow")
    note(f"in Windows CPython, tests/{folder}: {summary}")
