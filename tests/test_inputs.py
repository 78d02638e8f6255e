import os
import shutil
import sys
from pathlib import Path

import pytest

from etwdetect.errors import NotATraceError
from etwdetect.inputs import find_inputs

SAMPLE = Path(__file__).parents[1] / "samples" / "windbg-attach.etl"

needs_links = pytest.mark.skipif(sys.platform == "win32", reason="making a link needs a right there")


def opened(path):
    """What becomes of each input at *path*: its name, and why it can't be read."""
    for found in find_inputs(path):
        try:
            with found.open():
                yield found.path.name, None
        except NotATraceError as error:
            yield found.path.name, str(error)


@needs_links
def test_a_trace_of_a_directory_that_cannot_be_opened_is_not_passed_over(tmp_path):
    shutil.copy(SAMPLE, tmp_path / "a.etl")
    (tmp_path / "b.etl").symlink_to("b.etl")
    assert list(opened(tmp_path)) == [
        ("a.etl", None),
        ("b.etl", f"{tmp_path / 'b.etl'}: cannot be opened: Too many levels of symbolic links"),
    ]


def test_an_archive_of_a_directory_that_cannot_be_read_is_not_passed_over(tmp_path):
    (tmp_path / "cut.zip").write_bytes(b"PK\x03\x04" + b"x" * 100)
    ((name, why),) = opened(tmp_path)
    assert (name, "is a .zip that cannot be read" in why) == ("cut.zip", True)


def test_a_folder_that_cannot_be_looked_into_is_not_passed_over(tmp_path, monkeypatch):
    shutil.copy(SAMPLE, tmp_path / "a.etl")
    locked = tmp_path / "locked"
    locked.mkdir()
    scandir = os.scandir

    def denied(folder):
        if Path(folder) == locked:
            raise PermissionError(13, "Permission denied", f"{folder}")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", denied)
    assert list(opened(tmp_path)) == [
        ("a.etl", None),
        ("locked", f"{locked}: cannot be looked into: Permission denied"),
    ]


@needs_links
def test_a_directory_in_which_nothing_can_be_read_is_not_called_one_without_a_trace(tmp_path):
    (tmp_path / "b.etl").symlink_to("b.etl")
    assert len(list(find_inputs(tmp_path))) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="says so in other words")
def test_a_path_that_the_system_refuses_to_look_at_is_no_crash(tmp_path):
    with pytest.raises(NotATraceError, match="cannot be opened: File name too long"):
        list(find_inputs(tmp_path / ("x" * 300)))
