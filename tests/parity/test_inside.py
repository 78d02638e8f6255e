"""Runs the tests in inside/ with pytest in Windows CPython, each file on a simulated machine of its own."""

import re
from pathlib import Path

import pytest

from etwdetect.parity.benches import wine
from tools.windows_lab.wine import windows_path

INSIDE = sorted((Path(__file__).parent / "inside").glob("windows_*.py"))


@pytest.mark.parametrize("module", INSIDE, ids=[module.stem for module in INSIDE])
def test_in_windows_cpython(lab, module):
    wine.build()
    arguments = "-m", "pytest", "-q", "-p", "no:cacheprovider", windows_path(module)
    ran = lab.run_python(*arguments, timeout=300, env={"ETWDETECT_SIMETW": f"parity-{module.stem}"})
    said = ran.stdout + ran.stderr
    assert ran.returncode == 0, said
    assert re.search(r"^\d+ passed in", said, re.MULTILINE), f"some tests did not run:\n{said}"
