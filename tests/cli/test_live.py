"""The commands that need a live session, on a system that can't have one; tests/live has the others."""

import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="this system can have live sessions")


@pytest.mark.parametrize(
    "arguments", [("monitor",), ("record", "never.etl"), ("doctor",)], ids=lambda each: each[0]
)
def test_elsewhere_it_is_one_sentence_and_status_5(etwdetect, arguments, tmp_path):
    done = etwdetect(*arguments, cwd=tmp_path)
    assert (done.status, done.out) == (5, "")
    assert done.err == "etwdetect: a live session requires Windows; this system is linux\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["--duration", "--stats", "--rotate"])
def test_nothing_at_all_is_no_number_of_seconds_or_megabytes(etwdetect, option):
    assert etwdetect("monitor", option, "0").status == 2


def test_no_older_file_kept_is_no_rotation(etwdetect):
    assert etwdetect("monitor", "--keep", "0").status == 2
