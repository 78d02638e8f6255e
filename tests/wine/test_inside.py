"""Runs the tests in inside/ with pytest in Windows CPython; they talk to the loaded driver."""

from pathlib import Path

import pytest

from tests.windows_cpython import inside, run_tests

INSIDE = inside(Path(__file__).parent)


@pytest.mark.parametrize("module", INSIDE, ids=[module.stem for module in INSIDE])
def test_in_windows_cpython(lab, drivers, no_driver, module):  # noqa: ARG001 (the tests inside install them)
    run_tests(lab, module)
