"""What is built: the wheel and the source distribution, without the network."""

import os
import subprocess
import sys
import tarfile
import zipfile

import pytest

from etwdetect._version import __version__
from tests.conftest import ROOT

pytest.importorskip("hatchling", reason="hatchling, the build backend, is not installed")

SAMPLE = ROOT / "samples" / "windbg-attach.etl"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder with the wheel and the source distribution."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(built):
    with zipfile.ZipFile(built / f"etwdetect-{__version__}-py3-none-any.whl") as opened:
        yield opened


@pytest.fixture(scope="module")
def run(wheel, tmp_path_factory):
    """Run the command of the wheel, unpacked, which is all that installing it does."""
    site, elsewhere = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("elsewhere")
    wheel.extractall(site)

    def start(*arguments):
        return subprocess.run(
            [sys.executable, "-P", "-m", "etwdetect", *map(str, arguments)],
            cwd=elsewhere,
            env={**os.environ, "PYTHONPATH": str(site)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return start


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    tracked = subprocess.run(
        ["git", "ls-files", "etwdetect"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if tracked.returncode:
        pytest.skip("this is not a Git checkout, whose list of files would be compared")
    names = [name for name in wheel.namelist() if ".dist-info/" not in name]
    assert sorted(names) == sorted(tracked.stdout.splitlines())


def test_the_source_distribution_has_the_parity_tests(built):
    with tarfile.open(built / f"etwdetect-{__version__}.tar.gz") as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    assert {"parity_tests/cli.py", "parity_tests/scenarios/a-spoofed-parent.toml", "pyproject.toml"} <= names
    assert not [name for name in names if name.startswith(("build/", "dist/")) or ".pyc" in name]


@pytest.mark.slow
def test_the_wheel_scans_reports_and_explains(run, tmp_path):
    scanned = run("scan", "--format", "json", SAMPLE)
    assert (scanned.returncode, len(scanned.stdout.splitlines())) == (0, 2)
    assert run("explain", SAMPLE).returncode == 0
    assert run("report", SAMPLE, "-o", tmp_path / "report.html").returncode == 0
    assert "windbg.exe" in (tmp_path / "report.html").read_text("utf-8")


@pytest.mark.slow
def test_the_wheel_compares_saved_outputs(run, tmp_path):
    etw, driver = tmp_path / "etw.json", tmp_path / "driver.json"
    etw.write_text(run("scan", "--format", "json", SAMPLE).stdout)
    driver.touch()
    done = run("parity", "compare", etw, driver)
    assert (done.returncode, done.stdout.count("only ETW has ")) == (1, 2)


def test_the_wheel_says_where_the_parity_tests_are(run):
    done = run("parity", "run", "--bench", "vm")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (5, "", 1)
    assert "run it in a checkout of the etwdetect repository" in done.stderr
