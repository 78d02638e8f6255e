"""The stand-in for event tracing, built; without the lab, the tests here are skipped and say why."""

import subprocess
import sys
from pathlib import Path

import pytest

# These are for Windows CPython; test_inside.py hands them over.
collect_ignore = [] if sys.platform == "win32" else ["inside"]

SIMETW = Path(__file__).resolve().parents[2] / "simetw"


@pytest.fixture(scope="session")
def simetw(lab):  # noqa: ARG001 (the compiler comes with the lab)
    """The directory of the built library."""
    made = subprocess.run(
        ("make", "-s", "-C", SIMETW), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    return SIMETW.parent / "build" / "simetw"
