"""Runs the tests in inside/ with pytest in Windows CPython, each file on a simulated machine of its own."""

from pathlib import Path

import pytest

from tests.windows_cpython import inside, run_tests

INSIDE = inside(Path(__file__).parent)


@pytest.mark.parametrize("module", INSIDE, ids=[module.stem for module in INSIDE])
def test_in_windows_cpython(lab, simetw, module):  # noqa: ARG001 (it is loaded by the tests inside)
    run_tests(lab, module, simetw=f"live-{module.stem}")
