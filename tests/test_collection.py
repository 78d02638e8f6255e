"""What conftest.py does with the tests that pytest collects, shown with pytest itself on tests made for it."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"

NEEDING = """
import pytest

@pytest.fixture
def lab(): pass

@pytest.fixture
def java(): pass

@pytest.fixture
def through_another(java): pass

@pytest.mark.parametrize("number", range(6))
def test_in_the_lab(lab, number): pass

@pytest.mark.parametrize("number", range(6))
def test_with_java(through_another, number): pass

@pytest.mark.needs("java")
def test_marked(): pass

def test_built(compiler): pass

def test_plain(): pass
"""


@pytest.fixture
def run(tmp_path):
    """Returns a function that runs pytest, with this project's conftest.py, on tests with the given source."""
    shutil.copy(CONFTEST, tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = needs\naddopts = --strict-markers\n")

    def start(source, *arguments, path="test_it.py"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(source)
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
        return done.returncode, done.stdout + done.stderr

    return start


@pytest.mark.slow
def test_only_python_leaves_out_what_needs_more_and_says_how_much_of_what(run):
    status, said = run(NEEDING, "--only-python", "-v", "-n0")
    assert status == 0, said
    assert re.findall(r"::(\w+)", said) == ["test_plain"]
    assert re.findall("^left out: .*", said, re.MULTILINE) == [
        "left out: 6 tests that need the Windows lab",
        "left out: 7 tests that need Java",
        "left out: 1 tests that need a C++ compiler",
    ]


@pytest.mark.slow
def test_else_all_run_in_parallel_and_those_that_need_the_same_on_one_worker(run):
    status, said = run(NEEDING, "-v", "-n2", "--dist", "loadgroup")
    assert status == 0, said
    ran = re.findall(r"^\[(gw\d)\].* PASSED test_it\.py::(\w+)(?:\[\d\])?(@\w+)?", said, re.MULTILINE)
    assert len(ran) == 15
    assert {(name, group) for _, name, group in ran} == {
        ("test_in_the_lab", "@lab"),
        ("test_with_java", "@java"),
        ("test_marked", "@java"),
        ("test_built", ""),
        ("test_plain", ""),
    }
    for group in ("@lab", "@java"):
        assert len({worker for worker, _, of in ran if of == group}) == 1


@pytest.mark.slow
def test_the_tests_of_the_live_monitor_may_have_a_lab_of_their_own(run):
    status, said = run(NEEDING, "-v", "-n2", "--dist", "loadgroup", path="tests/live/test_it.py")
    assert status == 0, said
    assert set(re.findall(r"PASSED .*::test_in_the_lab\[\d\]@(.*?) *$", said, re.MULTILINE)) == {"lab: tests/live"}


@pytest.mark.slow
def test_in_parallel_what_each_worker_leaves_out_is_said_once(run):
    status, said = run(NEEDING, "--only-python", "-n2", "--dist", "loadgroup")
    assert status == 0, said
    assert said.count("left out: 6 tests that need the Windows lab") == 1


@pytest.mark.slow
def test_the_name_of_a_test_has_a_bound(run):
    within, beyond = ("test_".ljust(characters, "x") for characters in (150, 151))
    status, said = run(f"def {within}(): pass\ndef {beyond}(): pass\n", "-n0")
    assert status == pytest.ExitCode.USAGE_ERROR
    assert "at most 150 characters" in said
    assert re.findall(r"^test_it\.py::(\w+)$", said.replace("ERROR: ", ""), re.MULTILINE) == [beyond]


@pytest.mark.slow
def test_bytes_and_long_texts_are_named_by_their_parameter(run):
    values = "[b'bytes', 'short', 'x' * 50, 'x' * 51, 'two\\nlines', 7]"
    source = f"import pytest\n@pytest.mark.parametrize('data', {values})\ndef test_it(data): pass\n"
    status, said = run(source, "--collect-only", "-q", "-n0")
    assert status == 0, said
    assert re.findall(r"test_it\[(.*)\]", said) == ["data0", "short", "x" * 50, "data1", "data2", "7"]
