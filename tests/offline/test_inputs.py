"""What is found at a path: nothing of a directory is passed over that may hold a trace."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from etwdetect.core.errors import NotATraceError
from etwdetect.offline.inputs import find_inputs
from tests.traces_by_writer import attack, write_trace

needs_parquet = pytest.mark.skipif(find_spec("pyarrow") is None, reason="needs the extra etwdetect[parquet]")
needs_links = pytest.mark.skipif(sys.platform == "win32", reason="making a link needs a right there")


@pytest.fixture
def folder(tmp_path):
    """One with a trace in it."""
    write_trace(tmp_path / "sound.etl", attack())
    return tmp_path


def told_of(folder):
    """What opening each input in *folder* says, by the file's name; nothing of one that can be read."""
    told = {}
    for found in find_inputs(folder):
        try:
            with found.open():
                told[found.path.name] = ""
        except NotATraceError as error:
            told[found.path.name] = str(error)
    return told


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.zip", b"PK\3\4 and no more", "is a .zip that cannot be read"),
        ("a.jsonl", b'{"schema_version": 2, "host": "H", "recording": "r"}\n', "a newer etwdetect can read it"),
        pytest.param("a.parquet", b"PAR1 cut short", "is not a readable Parquet file", marks=needs_parquet),
    ],
)
def test_what_cannot_be_read_in_a_directory_is_told_beside_the_others(folder, name, content, why):
    (folder / name).write_bytes(content)
    told = told_of(folder)
    assert why in told[name]
    assert told["sound.etl"] == ""


@needs_links
def test_a_link_to_nothing_that_is_called_like_a_trace_is_told(folder):
    (folder / "a.etl").symlink_to(folder / "nothing")
    assert "cannot be opened: " in told_of(folder)["a.etl"]


def test_a_folder_that_cannot_be_looked_into_is_told(folder, monkeypatch):
    locked = folder / "locked"
    locked.mkdir()
    scandir = os.scandir

    def denied(where):
        if Path(where) == locked:
            raise PermissionError(13, "Permission denied", f"{where}")
        return scandir(where)

    monkeypatch.setattr(os, "scandir", denied)
    assert told_of(folder) == {"sound.etl": "", "locked": f"{locked}: cannot be listed: Permission denied"}


def test_a_directory_in_which_nothing_can_be_read_is_not_called_one_without_a_trace(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"PK\3\4 and no more")
    assert len(list(find_inputs(tmp_path))) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="says so in other words")
def test_a_path_that_the_system_refuses_to_look_at_is_no_crash(tmp_path):
    with pytest.raises(NotATraceError, match="cannot be opened: File name too long"):
        list(find_inputs(tmp_path / ("x" * 300)))


def test_a_file_that_may_not_even_be_looked_at_is_told(folder, monkeypatch):
    (folder / "closed").mkdir()
    write_trace(folder / "closed" / "a.etl", attack())

    def denied(real):
        def call(file, *how, **options):
            if file.parent.name == "closed":
                raise PermissionError(13, "Permission denied", str(file))
            return real(file, *how, **options)

        return call

    for name in ("stat", "open"):
        monkeypatch.setattr(Path, name, denied(getattr(Path, name)))
    assert told_of(folder)["a.etl"].endswith("a.etl: cannot be opened: Permission denied")
    with pytest.raises(NotATraceError, match=r"a\.etl: cannot be opened: Permission denied"):
        list(find_inputs(folder / "closed" / "a.etl"))
