"""What is found at a path: nothing of a directory is passed over that may hold a trace."""

import bz2
import gc
import gzip
import io
import lzma
import os
import sys
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from etwdetect.core.errors import NotATraceError
from etwdetect.offline import Scan
from etwdetect.offline.inputs import UnreadInput, find_inputs
from tests.conftest import needs_parquet
from tests.traces_by_writer import attack, write_trace

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

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
        ("a.jsonl", b'{"schema_version": 3, "host": "H", "recording": "r"}\n', "a newer etwdetect can read it"),
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
            if isinstance(file, str | Path) and Path(file).parent.name == "closed":
                raise PermissionError(13, "Permission denied", str(file))
            return real(file, *how, **options)

        return call

    for name in ("stat", "open"):
        monkeypatch.setattr(os, name, denied(getattr(os, name)))
    assert told_of(folder)["a.etl"].endswith("a.etl: cannot be opened: Permission denied")
    with pytest.raises(NotATraceError, match=r"a\.etl: cannot be opened: Permission denied"):
        list(find_inputs(folder / "closed" / "a.etl"))


PACKERS = {"gz": gzip.compress, "xz": lzma.compress, "bz2": bz2.compress, "zst": zstd.compress}
SAMPLE = (Path(__file__).parents[2] / "samples" / "windbg-attach.etl").read_bytes()


def tar_of(*named):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in named:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def zip_of(*named):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in named:
            archive.writestr(name, content)
    return file.getvalue()


def hits_at(path):
    """The number of remote threads in each input at *path*, by its name behind *path*; or the error."""
    found = {}
    for each in find_inputs(path):
        name = each.name.removeprefix(str(path)).lstrip(os.sep)
        try:
            with each.open() as trace:
                found[name] = len(list(Scan([trace]).detections()))
        except NotATraceError as error:
            found[name] = str(error).removeprefix(f"{each.name}: ")
    return found


@pytest.mark.parametrize("packing", PACKERS)
def test_a_packed_trace_is_read_whatever_it_is_called(tmp_path, packing):
    for name in (f"a.etl.{packing}", f"b.{packing}", "c.etl"):
        (tmp_path / name).write_bytes(PACKERS[packing](SAMPLE))
        assert hits_at(tmp_path / name) == {"": 2}
    assert hits_at(tmp_path) == {f"a.etl.{packing}": 2, f"b.{packing}": 2, "c.etl": 2}


@pytest.mark.parametrize("packing", ["", *PACKERS])
@pytest.mark.parametrize("make", [tar_of, zip_of])
def test_the_traces_in_an_archive_are_read_also_where_it_is_packed_itself(tmp_path, make, packing):
    data = make(("b.etl", SAMPLE), ("a/c.etl.gz", gzip.compress(SAMPLE)), ("notes.txt", b"nothing"))
    (tmp_path / "a.tar").write_bytes(PACKERS[packing](data) if packing else data)
    for path, before in ((tmp_path / "a.tar", ""), (tmp_path, "a.tar")):
        assert hits_at(path) == {f"{before}!a/c.etl.gz": 2, f"{before}!b.etl": 2}


@pytest.mark.parametrize("make", [tar_of, zip_of])
def test_events_in_an_archive_are_read(tmp_path, make, etwdetect):
    trace = tmp_path / "a.etl"
    trace.write_bytes(SAMPLE)
    rows = etwdetect("events", trace).out.encode()
    (tmp_path / "a.zip").write_bytes(make(("a.jsonl", rows), ("b.jsonl.xz", lzma.compress(rows))))
    assert hits_at(tmp_path / "a.zip") == {"!a.jsonl": 2, "!b.jsonl.xz": 2}


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.7z", b"7z\xbc\xaf\x27\x1c" + bytes(100), "is a 7-Zip archive, which is not read: unpack it first"),
        ("a.gz", gzip.compress(b"Dear diary"), "is packed, and holds no trace"),
        ("a.zip", zip_of(("a.txt", b"x")), "is a .zip with no trace, no events and no saved results in it"),
        ("a.tar.xz", lzma.compress(tar_of(("a.txt", b"x"))), "is a .tar with no trace, no events"),
        ("b.zip", zip_of(("a.zip", zip_of(("a.etl", SAMPLE)))), "is an archive in an archive: unpack it first"),
        ("b.tar", tar_of(("a.rar", b"Rar!\x1a\x07\0")), "is a RAR archive, which is not read: unpack it first"),
    ],
)
def test_what_is_packed_in_a_directory_and_no_trace_is_told_as_passed_over(folder, name, content, why):
    (folder / name).write_bytes(content)
    unread = [found for found in find_inputs(folder) if isinstance(found, UnreadInput)]
    assert why in str(unread[0].error)
    assert all(each.passed_over for each in unread)
    assert hits_at(folder)["sound.etl"] == 1
    try:
        assert not any(isinstance(hits, int) for hits in hits_at(folder / name).values())
    except NotATraceError as error:
        assert name in str(error)  # noqa: PT017 (either may be)


def test_what_is_packed_twice_is_told(tmp_path):
    (tmp_path / "a.etl.gz").write_bytes(gzip.compress(gzip.compress(SAMPLE)))
    with pytest.raises(NotATraceError, match="is packed twice: unpack it once"):
        list(find_inputs(tmp_path / "a.etl.gz"))


def test_the_rest_of_an_archive_that_is_cut_is_told(tmp_path):
    data = tar_of(("a.etl", SAMPLE), ("b.etl", SAMPLE))
    (tmp_path / "a.tar").write_bytes(data[: len(SAMPLE) + 1000])
    found = hits_at(tmp_path / "a.tar")
    assert found["!a.etl"] == 2
    assert found[""] == "is a .tar that cannot be read: it is cut short"


@needs_links
def test_a_folder_behind_a_link_is_read_once_or_told(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    write_trace(elsewhere / "b.etl", attack())
    (folder / "inside").mkdir()
    (folder / "again").symlink_to(folder / "inside")
    (folder / "loop").symlink_to(folder)
    assert hits_at(folder) == {"sound.etl": 1}
    (folder / "out").symlink_to(elsewhere)
    assert hits_at(folder) == {
        "sound.etl": 1,
        "out": "is a link to a directory, which is not followed: name it to have it read",
    }


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_pipe_in_a_directory_is_told_and_not_waited_for(folder):
    os.mkfifo(folder / "pipe.etl")
    assert hits_at(folder) == {"sound.etl": 1, "pipe.etl": "is neither a file nor a directory"}


def test_many_archives_that_are_packed_keep_one_temporary_file_open(tmp_path):
    for number in range(30):
        (tmp_path / f"{number}.tar.gz").write_bytes(gzip.compress(tar_of(("a.etl", SAMPLE), ("b.etl", SAMPLE))))
    found = list(find_inputs(tmp_path))
    assert len(found) == 60
    if Path("/proc/self/fd").is_dir():
        open_now = len(list(Path("/proc/self/fd").iterdir()))
        del found
        gc.collect()
        assert open_now - len(list(Path("/proc/self/fd").iterdir())) <= 1


def peak(work):
    """The most memory that *work* takes, in bytes."""
    tracemalloc.start()
    work()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


def test_what_cannot_be_read_takes_little_memory_however_many_there_are(tmp_path):
    for number in range(2_000):
        (tmp_path / f"{number}.zip").write_bytes(b"PK\3\4 and no more")
    assert peak(lambda: list(find_inputs(tmp_path))) < 2_000 * 2_000
