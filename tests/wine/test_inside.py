"""Runs the tests in inside/ with pytest in Windows CPython; they talk to the loaded driver."""

import re
from pathlib import Path

import pytest

from tools.windows_lab.wine import windows_path

INSIDE = sorted((Path(__file__).parent / "inside").glob("windows_*.py"))


@pytest.mark.parametrize("module", INSIDE, ids=[module.stem for module in INSIDE])
def test_in_windows_cpython(lab, drivers, module):  # noqa: ARG001 (they are installed by the tests inside)
    ran = lab.run_python("-m", "pytest", "-q", "-p", "no:cacheprovider", windows_path(module), timeout=300)
    said = ran.stdout + ran.stderr
    assert ran.returncode == 0, said
    assert re.search(r"^\d+ passed in", said, re.MULTILINE), f"some tests did not run:\n{said}"
