"""etwdetect fleet where it does not come to Spark."""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

from tests.traces_by_writer import attack, write_trace

EXTRA = pytest.mark.skipif(find_spec("pyspark") is None, reason="needs the extra etwdetect[spark]")


@EXTRA
def test_without_java_the_remedy_is_told(etwdetect, tmp_path):
    without = {**os.environ, "PATH": "", "JAVA_HOME": ""}
    done = etwdetect("fleet", write_trace(tmp_path / "a.etl", attack()), "-o", tmp_path / "out", env=without)
    assert done.status == 5
    assert "Spark needs Java 17 or 21: install it (Debian: apt-get install openjdk-17-jre-headless)" in done.err


@pytest.mark.parametrize("package", ["pyspark", "pyarrow", "pandas"])
def test_without_the_extra_the_remedy_is_told(tmp_path, package):
    run = "from etwdetect.cli import main; sys.exit(main(sys.argv[1:]))"
    code = f"import sys; sys.modules[{package!r}] = None; {run}"
    command = [sys.executable, "-c", code, "fleet", str(tmp_path), "-o", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 5
    assert "pip install 'etwdetect[spark]'" in done.stderr
    assert "Traceback" not in done.stderr


@EXTRA
@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ([], "Missing option '--output'"),
        (["-o", "out", "--once"], "--once requires --stream"),
        (["-o", "out", "--lateness", "soon"], "'soon' is not a duration such as '90 seconds' or '10 minutes'"),
        (["-o", "out", "--host-pattern", "("], "--host-pattern"),
        (["-o", "out", "--buckets", "0"], "--buckets"),
    ],
)
def test_wrong_usage_is_told(etwdetect, tmp_path, arguments, fault):
    done = etwdetect("fleet", tmp_path, *arguments)
    assert (done.status, done.out) == (2, "")
    assert fault in done.err


@EXTRA
@pytest.mark.parametrize("name", ["missing", "empty", "other"])
def test_a_folder_with_nothing_in_it_is_told_before_spark_starts(etwdetect, tmp_path, name):
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_bytes(b"nobody's trace")
    done = etwdetect("fleet", tmp_path / name, "-o", tmp_path / "out")
    assert done.status == 1
    assert (
        "does not exist" if name == "missing" else "has no .etl, .jsonl or .parquet, and nothing packed"
    ) in done.err
