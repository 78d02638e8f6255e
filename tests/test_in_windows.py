"""Runs all tests that need nothing but Python in Windows CPython, in the lab."""

import re
from pathlib import Path

from tools.windows_lab.wine import windows_path

TESTS = Path(__file__).parent
SECONDS = 1800


def test_what_needs_nothing_but_python_passes_in_windows_cpython(lab, note):
    arguments = "-m", "pytest", "-q", "-p", "no:cacheprovider", "--only-python", windows_path(TESTS)
    ran = lab.run_python(*arguments, timeout=SECONDS)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (summary,) = re.findall(r"^(\d+ passed.*) in ", ran.stdout, re.MULTILINE)
    note(f"in Windows CPython: {summary}")
