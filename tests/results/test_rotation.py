import pytest

from etwdetect.results.rotation import GrowingFile, Rotation


@pytest.fixture
def path(tmp_path):
    return tmp_path / "threads.jsonl"


def test_what_is_written_is_in_the_file_at_once(path):
    file = GrowingFile(path, Rotation())
    file.write("one\n")
    assert path.read_bytes() == b"one\n"
    file.close()


def test_a_file_that_is_there_goes_on(path):
    path.write_bytes(b"one\n")
    file = GrowingFile(path, Rotation())
    assert not file.is_new
    file.write("two\n")
    file.close()
    assert path.read_bytes() == b"one\ntwo\n"


def test_a_line_that_was_cut_is_ended_first(path):
    path.write_bytes(b"one\ntw")
    file = GrowingFile(path, Rotation())
    file.write("three\n")
    file.close()
    assert path.read_bytes() == b"one\ntw\nthree\n"


def test_it_is_full_at_its_limit_and_counts_bytes(path):
    file = GrowingFile(path, Rotation(limit=6))
    file.write("ä\n")
    assert not file.is_full
    file.write("ä\n")
    assert file.is_full
    file.close()


def test_without_a_limit_it_is_never_full(path):
    file = GrowingFile(path, Rotation())
    file.write("x" * 1000)
    assert not file.is_full
    file.close()


def test_rotating_keeps_as_many_older_ones_as_it_is_to(path):
    file = GrowingFile(path, Rotation(limit=1, keep=2))
    for number in range(4):
        file.write(f"{number}\n")
        file.rotate()
    file.close()
    assert file.is_new
    contents = {each.name: each.read_bytes() for each in path.parent.iterdir()}
    assert contents == {"threads.jsonl": b"", "threads.jsonl.1": b"3\n", "threads.jsonl.2": b"2\n"}


def test_text_that_has_no_utf_8_is_escaped(path):
    file = GrowingFile(path, Rotation())
    file.write("\ud800\n")
    file.close()
    assert path.read_bytes() == b"\\ud800\n"
