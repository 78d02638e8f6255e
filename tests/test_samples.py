import json
import subprocess
import sys
from pathlib import Path

import pytest

SAMPLES = Path(__file__).parent.parent / "samples"


@pytest.mark.skipif(sys.platform == "win32", reason="the Python of the lab imports nothing from a script's folder")
def test_the_sample_image_is_made_again_byte_for_byte(tmp_path):
    subprocess.run([sys.executable, SAMPLES / "make_images.py", tmp_path], check=True)
    assert (tmp_path / "ntdll.dll").read_bytes() == (SAMPLES / "images" / "ntdll.dll").read_bytes()


def test_the_sample_scanned_with_the_sample_image_is_a_debugger_break_in(etwdetect):
    done = etwdetect("scan", SAMPLES / "windbg-attach.etl", "--images", SAMPLES / "images", "--utc")
    assert [line.split("  ")[1:] for line in done.out.splitlines()] == [
        ["windbg.exe -> notepad.exe", "debugger break-in, ntdll.dll!DbgUiRemoteBreakin"]
    ] * 2


def test_without_images_the_sample_has_no_function_and_says_why(etwdetect):
    done = etwdetect("scan", SAMPLES / "windbg-attach.etl", "--format", "json")
    for record in map(json.loads, done.out.splitlines()):
        assert "StartFunction" not in record
        assert record["Absent"]["StartFunction"] == "no file: no image files were given"


@pytest.mark.parametrize("name", ["windbg-attach.etl", "quiet.etl"])
def test_samples_are_made_again_byte_for_byte(tmp_path, name):
    subprocess.run([sys.executable, SAMPLES / "make.py", tmp_path], check=True)
    assert (tmp_path / name).read_bytes() == (SAMPLES / name).read_bytes()
