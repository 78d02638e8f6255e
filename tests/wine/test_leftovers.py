"""A test of the driver that finds what another left in the lab says so, and takes it away."""

import pytest

from tests.wine.conftest import remove_driver
from tools.windows_lab.wine import windows_path


@pytest.fixture
def left(lab, drivers):
    """The driver as a test leaves it that ends without taking it away: it runs."""
    remove_driver(lab)
    for command in (("install", windows_path(drivers / "KDetector.sys")), ("start",)):
        ran = lab.run_python("-m", "etwdetect", "driver", *command)
        assert ran.returncode == 0, ran.stderr
    yield
    remove_driver(lab)


def test_a_test_that_finds_what_another_left_says_so_and_takes_it_away(lab, left, request):  # noqa: ARG001
    said = r"an earlier test left in the lab, .*: the service KDetector, running, C:\\.*\\KDetector\.sys$"
    with pytest.raises(pytest.fail.Exception, match=said):
        request.getfixturevalue("no_driver")
    assert remove_driver(lab) == []
