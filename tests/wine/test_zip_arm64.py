"""The .zip for ARM64: made here with a stand-in for python.org's package, and looked at; nothing of it can run."""

import io
import struct
import subprocess
import sys
import zipfile

import pytest

from tools.windows_lab.errors import LabError
from tools.windows_lab.lab import PROJECT
from tools.windows_lab.windows_python import PATH_FILE
from tools.windows_zip import texts, wheels
from tools.windows_zip.bundle import assemble, fetch
from tools.windows_zip.platforms import ARM64, X64

# What is fetched goes into one folder, which the tests of one worker share.
pytestmark = pytest.mark.needs("lab")


def program(machine):
    """Return the head of a PE file for *machine*."""
    return b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0" + struct.pack("<H", machine) + bytes(18)


@pytest.fixture
def python(tmp_path):
    """Returns a function that makes an embeddable package as python.org's are."""

    def make(machine=ARM64.machine, without=None):
        path = tmp_path / "python-embed-arm64.zip"
        files = {name: program(machine) for name in ("python.exe", "python313.dll", "_ctypes.pyd")}
        files |= {PATH_FILE: b"python313.zip\r\n.\r\n", "python313.zip": b"PK", "LICENSE.txt": b"PSF"}
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in files.items():
                if name != without:
                    archive.writestr(name, content)
        return path

    return make


def test_all_programs_in_it_are_for_arm64(python, lab):  # noqa: ARG001 (without a lab, nothing is fetched)
    files = assemble(fetch(PROJECT, ARM64, python()))
    programs = {name for name in files if name.endswith((".exe", ".dll", ".pyd"))}
    assert {"etwdetect.exe", "python/python.exe"} < programs
    assert any(name.startswith("lib/numpy") for name in programs)
    assert all(ARM64.runs(files[name]) for name in programs)
    assert b"64 bits (ARM64)" in files["README.txt"]
    with zipfile.ZipFile(io.BytesIO(files["etwdetect.exe"])) as behind:
        assert behind.namelist() == ["__main__.py"]


@pytest.mark.parametrize(
    ("how", "complaint"),
    [
        ({"machine": X64.machine}, "python.exe is not there, or not for arm64"),
        ({"without": "python.exe"}, "python.exe is not there, or not for arm64"),
        ({"without": PATH_FILE}, "no embeddable package of CPython 3.13"),
    ],
)
def test_another_python_is_refused(python, how, complaint):
    with pytest.raises(LabError, match=complaint):
        fetch(PROJECT, ARM64, python(**how))


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\3\4"])
def test_what_is_no_archive_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "python.zip"
    path.write_bytes(content)
    command = [sys.executable, "-m", "tools.windows_zip", "--arm64", path, tmp_path / "made.zip"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=PROJECT)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert done.stderr.startswith(f"the .zip failed: {path}: ")
    assert not (tmp_path / "made.zip").exists()


def test_what_has_no_wheel_there_is_told():
    told = texts.readme(ARM64, ["evtx", "symbolic"]).decode()
    assert "what needs them is missing here: evtx, symbolic." in told
    assert "missing here" not in texts.readme(ARM64, []).decode()


def test_both_have_the_same_versions():
    versions = [
        {line.split(" --hash")[0] for line in platform.lock.read_text("utf-8").splitlines()[1:]}
        for platform in (X64, ARM64)
    ]
    assert versions[1] <= versions[0]
    assert wheels.locked(X64) - wheels.locked(ARM64) == set()


@pytest.mark.parametrize(
    "data", [b"", b"MZ", b"MZ" + b"\xff" * 62, program(X64.machine), b"ZM" + program(0xAA64)[2:]]
)
def test_what_is_not_for_arm64_is_known(data):
    assert not ARM64.runs(data)
    assert ARM64.runs(program(ARM64.machine))
