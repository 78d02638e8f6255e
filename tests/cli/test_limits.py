"""--limit: what a command takes in all; what is beyond it is told, with status 3."""

import gzip
import io
import zipfile

import pytest

from etwdetect.cli import main
from etwdetect.core.budget import RESOURCES, current
from tests.traces_by_writer import SECOND, START, attack, write_trace


@pytest.fixture
def trace(tmp_path):
    events = []
    for number in range(10):
        *listed, thread = attack(START + number * SECOND)
        events += [*listed, thread._replace(tid=201 + number)]
    return write_trace(tmp_path / "a.etl", events)


def run(capsys, *arguments):
    status = main(list(map(str, arguments)))
    return status, *capsys.readouterr()


def test_what_is_unpacked_ends_at_the_limit_of_the_command(trace, tmp_path, capsys):
    for name in ("b", "c"):
        (tmp_path / f"{name}.etl.gz").write_bytes(gzip.compress(trace.read_bytes()))
    size = trace.stat().st_size
    status, _, err = run(capsys, "scan", tmp_path / "b.etl.gz", tmp_path / "c.etl.gz", f"--limit=unpacked={size}")
    assert (status, err.count(f"the limit of {size:,} bytes unpacked is met: the rest is not read")) == (1, 1)
    assert "--limit unpacked=NUMBER changes it" in err
    assert "b.etl.gz: 10 remote threads" in err
    assert (
        run(capsys, "scan", tmp_path / "b.etl.gz", tmp_path / "c.etl.gz", f"--limit=unpacked={2 * size}")[0] == 0
    )


def test_standard_input_ends_at_the_limit_of_what_is_unpacked(trace, capsys, monkeypatch):
    class Stdin:
        buffer = io.BytesIO(trace.read_bytes() * 100)

    monkeypatch.setattr("sys.stdin", Stdin)
    status, _, err = run(capsys, "scan", "-", "--limit", "unpacked=2000000")
    assert (status, "the limit of 2,000,000 bytes unpacked is met" in err) == (3, True)


@pytest.mark.parametrize("packing", ["zip", "directory"])
def test_members_end_at_their_limit(trace, tmp_path, capsys, packing):
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(5):
        (folder / f"{number}.etl").write_bytes(trace.read_bytes())
    path = folder
    if packing == "zip":
        path = tmp_path / "a.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for each in sorted(folder.iterdir()):
                archive.write(each, each.name)
    status, out, err = run(capsys, "scan", path, "--limit", "members=3")
    assert (status, len(out.splitlines())) == (3, 30)
    assert f"etwdetect: {path}: the limit of 3 files in directories and archives is met" in err


def test_rows_end_at_their_limit_over_all_inputs(trace, tmp_path, capsys):
    saved, rows = tmp_path / "a.json", tmp_path / "a.jsonl"
    assert run(capsys, "scan", "--format", "json", "-o", saved, trace)[0] == 0
    assert run(capsys, "events", "-o", rows, trace)[0] == 0
    status, out, err = run(capsys, "scan", rows, saved, "--limit", f"rows={31 + 4}")
    assert (status, len(out.splitlines())) == (3, 10 + 4)
    assert "the limit of 35 rows of events and saved results is met" in err
    status, out, err = run(capsys, "scan", rows, "--limit", "rows=31")
    assert (status, len(out.splitlines())) == (0, 10)


@pytest.mark.parametrize("command", [["scan"], ["scan", "--format", "json"], ["explain"], ["events"]])
def test_the_output_ends_with_a_whole_line_at_its_limit(trace, capsys, command):
    whole = run(capsys, *command, trace)[1]
    status, out, err = run(capsys, *command, trace, "--limit", f"output={len(whole) - 1}")
    assert (status, out.endswith("\n")) == (3, True)
    assert out
    assert whole.startswith(out)
    assert len(out) < len(whole)
    assert err.count("characters written is met: the rest is not written") == 1
    assert run(capsys, *command, trace, "--limit", f"output={len(whole) + 100}")[:2] == (0, whole)


def test_a_database_ends_at_the_limit_of_the_output_too(trace, tmp_path, capsys):
    output = tmp_path / "a.sqlite"
    status, _, err = run(capsys, "scan", "--format", "sqlite", "-o", output, trace, "--limit", "output=3000")
    assert (status, "the limit of 3,000 characters written is met" in err) == (3, True)


def test_rows_of_parquet_end_at_the_limit_of_the_output(trace, tmp_path, capsys):
    pytest.importorskip("pyarrow")
    arguments = "events", "--format", "parquet", "-o", tmp_path / "a.parquet", trace
    status, _, err = run(capsys, *arguments, "--limit", "output=1000")
    assert (status, err.count("the limit of 1,000 characters written is met: the rest is not written")) == (3, 1)
    assert "a.etl: 9 of 31 events written" in err
    assert ", 10 events" in run(capsys, "scan", tmp_path / "a.parquet")[2]
    assert run(capsys, *arguments)[0] == 0


def test_a_report_lists_what_the_limit_of_the_output_allows(trace, tmp_path, capsys):
    page = tmp_path / "a.html"
    status, _, err = run(capsys, "report", "-o", page, trace, "--limit", "output=10")
    assert (status, err.count("the limit of 10 characters written is met: the rest is not written")) == (3, 1)
    assert "9 remote threads beyond what a page can hold" in page.read_text("utf-8")
    assert run(capsys, "report", "-o", page, trace)[0] == 0


@pytest.mark.parametrize(
    "limit", ["rows", "rows=", "rows=x", "rows=-1", "lines=3", "rows=1e9", "rows=" + "9" * 19]
)
def test_a_limit_that_is_none_is_wrong_usage(trace, capsys, limit):
    status, out, err = run(capsys, "scan", trace, "--limit", limit)
    assert (status, out) == (2, "")
    assert "is not NAME=NUMBER, with NAME one of unpacked, members, rows, output" in err


def test_a_limit_holds_for_its_command_alone(trace, capsys):
    run(capsys, "scan", trace, "--limit", "output=1")
    assert current.get().left("output") > max(resource.default for resource in RESOURCES.values())
    assert run(capsys, "scan", trace)[0] == 0
