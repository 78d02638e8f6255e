"""Runs the tests that need nothing but Python in Windows CPython too, in the lab, a folder at a time."""

from pathlib import Path

import pytest

from tests.windows_cpython import run_pytest

TESTS = Path(__file__).parent
FOLDERS = (
    *("cli", "comparison", "core", "driver", "enrich", "kdetector", "live", "offline", "results", "sources"),
    "windows",
)
PARTS = {
    "tests": sorted({*TESTS.glob("test_*.py")} - {Path(__file__)}),
    **{folder: [TESTS / folder] for folder in FOLDERS},
    "parity_tests": [TESTS.parent / "parity_tests" / "tests"],
}
"""Those in which all tests are known to hold there."""


@pytest.mark.parametrize("part", PARTS)
def test_they_pass_in_windows_cpython(lab, note, part):
    summary = run_pytest(lab, *PARTS[part], options=("--only-python", "-m", "not slow"))
    note(f"in Windows CPython, {part}: {summary}")
