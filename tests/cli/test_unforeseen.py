"""What nobody foresaw: one sentence with the input's name, the others done, outputs whole, status 1."""

import json
import os
import subprocess
import sys
import threading

import pytest

from etwdetect.cli import main, unforeseen
from etwdetect.offline import Scan
from etwdetect.results.saved import SavedResults
from tests.conftest import ROOT
from tests.traces_by_writer import attack, write_trace

SENTENCE = (
    "{}an error that etwdetect does not foresee (IndexError: of nobody's making); please report it on the page of"
    " the repository, under Security, with what --debug shows\n"
)


class Trouble:
    """Makes a method fail at the input whose name has *where* in it, as only a fault of ours could."""

    def __init__(self, monkeypatch, owner, name, where, error):
        really = getattr(owner, name)

        def failing(this, *arguments, **options):
            whose = this.traces[0].name if isinstance(this, Scan) else this.name
            if where in whose:
                raise error
            return really(this, *arguments, **options)

        monkeypatch.setattr(owner, name, failing)


@pytest.fixture
def three(tmp_path):
    return [write_trace(tmp_path / f"{name}.etl", attack()) for name in ("first", "middle", "last")]


@pytest.mark.parametrize("bad", ["first", "middle", "last"])
@pytest.mark.parametrize("form", ["text", "json", "csv"])
def test_one_input_that_meets_a_fault_is_named_and_the_others_are_done(three, monkeypatch, capsys, bad, form):
    Trouble(monkeypatch, Scan, "detections", bad, IndexError("of nobody's making"))
    assert main(["scan", "--format", form, *map(str, three)]) == 1
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 2 + (form == "csv")
    path = next(path for path in three if bad in path.name)
    assert SENTENCE.format(f"etwdetect: {path}: ") in err
    assert "Traceback" not in err


@pytest.mark.parametrize("command", [["events"], ["explain"], ["report", "-o", "PAGE"]])
def test_every_command_that_reads_names_the_input(three, monkeypatch, capsys, tmp_path, command):
    Trouble(monkeypatch, Scan, "read", "middle", IndexError("of nobody's making"))
    command = [str(tmp_path / "page.html") if word == "PAGE" else word for word in command]
    assert main([*command, *map(str, three)]) == 1
    assert SENTENCE.format(f"etwdetect: {three[1]}: ") in capsys.readouterr().err


def test_saved_results_that_meet_a_fault_are_named(tmp_path, monkeypatch, capsys):
    trace = write_trace(tmp_path / "a.etl", attack())
    saved = tmp_path / "a.json"
    assert main(["scan", "--format", "json", "-o", str(saved), str(trace)]) == 0
    capsys.readouterr()
    Trouble(monkeypatch, SavedResults, "detections", "a.json", IndexError("of nobody's making"))
    assert main(["scan", str(trace), str(saved)]) == 1
    out, err = capsys.readouterr()
    assert (len(out.splitlines()), SENTENCE.format(f"etwdetect: {saved}: ") in err) == (1, True)


def test_a_lack_of_memory_is_said_in_one_sentence_and_the_output_is_whole(three, monkeypatch, capsys, tmp_path):
    Trouble(monkeypatch, Scan, "detections", "middle", MemoryError())
    output = tmp_path / "found.json"
    assert main(["scan", "--format", "json", "-o", str(output), *map(str, three)]) == 1
    assert [json.loads(line)["TargetProcessId"] for line in output.read_text().splitlines()] == [200, 200]
    assert f"etwdetect: {three[1]}: there is not enough memory; please report it" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--debug", "scan"], ["scan", "--debug"]])
def test_debug_shows_the_traceback_of_this_command_alone(three, monkeypatch, capsys, arguments):
    Trouble(monkeypatch, Scan, "detections", "last", IndexError("of nobody's making"))
    assert main([*arguments, str(three[2])]) == 1
    err = capsys.readouterr().err
    assert "Traceback (most recent call last):" in err
    assert "in failing\n" in err
    main(["scan", str(three[2])])
    assert "Traceback" not in capsys.readouterr().err


def test_a_fault_without_an_input_is_a_sentence_too(monkeypatch, capsys):
    def fail(*_):
        raise IndexError("of nobody's making")

    monkeypatch.setattr("etwdetect.cli._Commands.get_command", fail)
    assert main(["doctor"]) == 1
    assert capsys.readouterr().err == SENTENCE.format("etwdetect: ")


def test_a_fault_that_ends_a_thread_is_a_sentence_too(capsys, monkeypatch):
    monkeypatch.setattr(threading, "excepthook", unforeseen._of_thread)

    def fail():
        raise IndexError("of nobody's making")

    thread = threading.Thread(target=fail, name="udp://x")
    thread.start()
    thread.join()
    assert capsys.readouterr().err == SENTENCE.format("etwdetect: udp://x: ")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are set as on Linux")
@pytest.mark.parametrize("megabytes", [30, 36, 42, 48, 56, 64, 80])
def test_with_too_little_memory_a_scan_ends_without_a_traceback(tmp_path, megabytes):
    path = write_trace(tmp_path / "a.etl", attack() * 2000, buffer_size=1 << 20)
    limited = (
        "import resource, sys; limit = int(sys.argv.pop(1)) << 20; from etwdetect.cli import main\n"
        "resource.setrlimit(resource.RLIMIT_AS, (limit, limit)); sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", limited, str(megabytes), "scan", "--format", "json", str(path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode in {0, 1, 3}
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("etwdetect: ")
    assert all(json.loads(line) for line in done.stdout.splitlines())
