"""A file is replaced as a whole or not at all."""

import os
import sys

import pytest

from etwdetect.results.whole_file import WholeFile

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="Windows has other rights and no named pipes")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "result.csv"


def names(path):
    return [each.name for each in path.parent.iterdir()]


def test_the_old_file_stays_until_the_new_one_is_closed(path):
    path.write_text("old")
    with WholeFile(path) as file:
        file.write("new\n")
        file.flush()
        assert path.read_text() == "old"
    assert path.read_bytes() == b"new\n"
    assert names(path) == ["result.csv"]


def test_a_new_file_is_there_only_when_it_is_closed(path):
    with WholeFile(path) as file:
        assert not path.exists()
        file.write("ä")
    assert path.read_bytes() == "ä".encode()


@pytest.mark.parametrize("old", ["old", None])
def test_an_exception_leaves_what_was_there(path, old):
    if old:
        path.write_text(old)
    with pytest.raises(ZeroDivisionError), WholeFile(path) as file:
        file.write("new" * (100_000 // file.write("")))
    assert names(path) == (["result.csv"] if old else [])
    assert not old or path.read_text() == old


def test_bytes_that_do_not_fit_the_encoding_leave_what_was_there(path):
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError), WholeFile(path) as file:
        file.write("\udc80")
    assert path.read_text() == "old"


def test_a_file_that_cannot_take_its_place_is_removed(path):
    file = WholeFile(path)
    path.mkdir()
    with pytest.raises(OSError, match=r"directory|denied"):
        file.close()
    assert names(path) == ["result.csv"]


@posix_only
def test_the_rights_of_the_old_file_are_kept_and_a_link_to_it_stays_one(path, tmp_path):
    path.write_text("old")
    path.chmod(0o640)
    link = tmp_path / "link"
    link.symlink_to(path)
    with WholeFile(link) as file:
        file.write("new")
    assert (link.is_symlink(), path.read_text(), path.stat().st_mode & 0o777) == (True, "new", 0o640)


@posix_only
def test_a_new_file_has_the_rights_that_a_new_file_has(path, tmp_path):
    (tmp_path / "other").write_text("")
    with WholeFile(path):
        pass
    assert path.stat().st_mode == (tmp_path / "other").stat().st_mode


@posix_only
def test_a_pipe_is_written_in_place(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with WholeFile(tmp_path / "pipe") as file:
        file.write("line\n")
    assert os.read(reader, 100) == b"line\n"
    os.close(reader)
    assert [each.name for each in tmp_path.iterdir()] == ["pipe"]


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(FileNotFoundError):
        WholeFile(tmp_path / "none" / "a")
