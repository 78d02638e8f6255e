"""One bad among good: whatever is bad, wherever it stands, every command does the others and names it."""

import bz2
import gzip
import io
import json
import lzma
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from etwdetect.cli import main
from tests.cli.test_report import shown
from tests.conftest import needs_evtx, needs_numpy
from tests.traces_by_writer import attack, write_trace

SAMPLE = (Path(__file__).parents[2] / "samples" / "windbg-attach.etl").read_bytes()


def zip_of(*named):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in named:
            archive.writestr(name, content)
    return file.getvalue()


def tar_of(*named):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in named:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def encrypted():
    data = bytearray(zip_of(("a.etl", SAMPLE)))
    data[data.index(b"PK\1\2") + 8] |= 1
    return bytes(data)


FILES = {
    "empty.etl": b"",
    "text.etl": b"Dear diary, " * 50,
    "short.etl": SAMPLE[:50],
    "log.etl": b"ElfFile\0" + bytes(4096),
    "monitor.etl": b"PML_" + bytes(4096),
    "cut.zip": zip_of(("a.etl", SAMPLE))[:-30],
    "encrypted.zip": encrypted(),
    "utf8.zip": zip_of(("ä.etl", SAMPLE)).replace("ä".encode(), b"\xff\xff"),
    "nothing.zip": zip_of(("a.txt", b"x")),
    "nested.zip": zip_of(("a.zip", zip_of(("b.etl", SAMPLE)))),
    "nested.tar.gz": gzip.compress(tar_of(("a.tar", tar_of(("b.etl", SAMPLE))))),
    "cut.tar": tar_of(("a.etl", SAMPLE))[:700],
    "broken.gz": b"\x1f\x8b" + b"x" * 100,
    "broken.xz": lzma.compress(SAMPLE)[:8],
    "broken.bz2": bz2.compress(SAMPLE)[:20],
    "twice.etl.gz": gzip.compress(gzip.compress(SAMPLE)),
    "text.gz": gzip.compress(b"Dear diary"),
    "a.7z": b"7z\xbc\xaf\x27\x1c" + bytes(100),
    "newer.jsonl": b'{"schema_version": 3, "host": "H", "recording": "r"}\n',
}


def make_bad(folder, name):
    path = folder / name
    if name in FILES:
        path.write_bytes(FILES[name])
    elif name == "missing.etl":
        pass
    elif name == "dangling.etl":
        path.symlink_to(folder / "nothing")
    elif name == "pipe.etl":
        os.mkfifo(path)
    elif name == "device.etl":
        path.symlink_to("/dev/zero")
    elif name == "folder.etl":
        path.mkdir()
    return path


POSIX = pytest.mark.skipif(sys.platform == "win32", reason="Windows has none, or not for everybody")
BAD = [
    *(pytest.param(name, marks=needs_evtx if name == "log.etl" else ()) for name in FILES),
    "missing.etl",
    "folder.etl",
    *(pytest.param(name, marks=POSIX) for name in ("dangling.etl", "pipe.etl", "device.etl")),
]
COMMANDS = {
    "scan": ("scan",),
    "scan --exit-code": ("scan", "--exit-code"),
    "report": ("report", "-o", "page.html"),
    "explain": ("explain",),
    "events": ("events",),
    "parity": ("parity", "run", "--bench", "trace"),
}


@pytest.fixture
def good(tmp_path):
    """Two good traces."""
    return [write_trace(tmp_path / f"good-{number}.etl", attack()) for number in (1, 2)]


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run the command line in this process: there are hundreds of cases."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        status = main([str(argument) for argument in arguments])
        return status, *capsys.readouterr()

    return run


def done_well(command, out, err, page):
    """Whether *command* shows that both good traces were done."""
    text = shown(page) if command == "report" else out + err
    found = {
        "events": out.count('"kind":"ThreadStart"'),
        "report": 2 * text.count("2 remote threads"),
        "parity": out.count("passed"),
    }.get(command, out.count("Remote Thread from"))
    return found >= 2 and all(f"good-{number}.etl" in text for number in (1, 2))


@pytest.mark.parametrize("place", [0, 1, 2], ids=["first", "middle", "last"])
@pytest.mark.parametrize(
    "command", [pytest.param(each, marks=needs_numpy if each == "parity" else ()) for each in COMMANDS]
)
@pytest.mark.parametrize("bad", BAD)
def test_the_good_inputs_are_done_and_the_bad_one_is_named(request, run, tmp_path, good, bad, command, place):  # noqa: PLR0917 (fixtures)
    if command == "parity":
        request.getfixturevalue("simulated_kernel")
    path = make_bad(tmp_path, bad)
    status, out, err = run(*COMMANDS[command], *good[:place], path, *good[place:])
    assert status == (11 if command == "scan --exit-code" else 1)
    assert path.name in err
    assert done_well(command, out, err, tmp_path / "page.html")


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "parity"])
@pytest.mark.parametrize(
    "bad", [*FILES, *(pytest.param(name, marks=POSIX) for name in ("dangling.etl", "pipe.etl", "device.etl"))]
)
def test_in_a_directory_too(run, tmp_path, good, bad, command):
    folder = tmp_path / "in"
    folder.mkdir()
    for trace in good:
        trace.rename(folder / trace.name)
    make_bad(folder, bad)
    status, out, err = run(*COMMANDS[command], folder)
    assert status == 11 if command == "scan --exit-code" else status in (1, 3)
    assert bad in err
    assert done_well(command, out, err, tmp_path / "page.html")


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "parity"])
@pytest.mark.parametrize("bad", FILES)
def test_in_an_archive_too(run, tmp_path, good, bad, command):
    members = [(f"{place}-{name}", data) for place in "ac" for name, data in [("good.etl", good[0].read_bytes())]]
    (tmp_path / "all.zip").write_bytes(zip_of(members[0], (f"b-{bad}", FILES[bad]), members[1]))
    status, out, err = run(*COMMANDS[command], tmp_path / "all.zip")
    assert status == 11 if command == "scan --exit-code" else status in (1, 3)
    assert f"all.zip!b-{bad}" in err
    assert out.count("Remote Thread from") == 2 or not (command.startswith("scan") or command == "explain")


def without_rights(*arguments):
    """Run the command line without the right to read everything, which these tests have where root runs them."""
    command = [sys.executable, "-m", "etwdetect", *map(str, arguments)]
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root may read everything, and setpriv is not there to take that away")
        taken = "-dac_override,-dac_read_search"
        command = ["setpriv", f"--bounding-set={taken}", f"--inh-caps={taken}", *command]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@POSIX
@pytest.mark.parametrize("command", ["scan", "events", "explain"])
def test_what_may_not_be_read_is_named_and_the_others_are_done(tmp_path, good, command):
    secret = write_trace(tmp_path / "secret.etl", attack())
    secret.chmod(0)
    (tmp_path / "locked").mkdir()
    (tmp_path / "locked").chmod(0)
    done = without_rights(command, good[0], secret, good[1])
    assert "secret.etl: cannot be opened: Permission denied" in done.stderr
    assert done.returncode == 1
    secret.unlink()
    done = without_rights(command, tmp_path)
    assert "locked: cannot be listed: Permission denied" in done.stderr
    assert done.returncode == 3
    assert done_well(command, done.stdout, done.stderr, tmp_path)
    (tmp_path / "locked").chmod(0o700)


def test_standard_input_is_an_input_and_one_that_is_bad_keeps_no_other_from_being_read(etwdetect, good):
    done = etwdetect("scan", good[0], "-", good[1], input=lzma.compress(SAMPLE))
    assert (done.status, done.out.count("Remote Thread from")) == (0, 4)
    assert "standard input: 2 remote threads" in done.err
    done = etwdetect("scan", good[0], "-", good[1], input=b"")
    assert (done.status, done.out.count("Remote Thread from")) == (1, 2)
    assert "standard input: is empty" in done.err
    done = etwdetect("scan", "-", "--format", "json", input=zip_of(("a.etl", SAMPLE), ("b.etl", SAMPLE)))
    assert [json.loads(line)["Trace"] for line in done.out.splitlines()] == [
        *["standard input!a.etl"] * 2,
        *["standard input!b.etl"] * 2,
    ]


def test_archives_with_members_of_one_name_and_bad_names_from_the_field(etwdetect):
    folder = Path(__file__).parents[3] / "shared" / "field" / "hostile"
    if not folder.is_dir():
        pytest.skip("the inputs from the field are not beside the repository, in shared/field/hostile")
    done = etwdetect("scan", *sorted(folder.glob("zip-*.zip")), folder.parent / "merged-twice.etl.gz")
    assert done.status == 1
    assert "zip-bad-utf8-name.zip: has a member whose name is not valid UTF-8: unpack it first" in done.err
    assert "zip-two-members-of-one-name.zip!trace.etl: 2 remote threads" in done.err
    assert "zip-two-members-of-one-name.zip!trace.etl (2): 0 remote threads" in done.err
    assert "merged-twice.etl.gz: " in done.err
