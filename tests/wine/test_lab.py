"""What the lab is: the tests beside this one are worth something only in a real Windows CPython."""

import contextlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools.windows_lab import LabError, LabUnavailableError, debian, open_lab
from tools.windows_lab.lab import PROJECT
from tools.windows_lab.steps import run_step
from tools.windows_lab.windows_python import requirements
from tools.windows_lab.wine import NOT_STARTED, launcher, windows_path

PROGRAM = """
import importlib.metadata, json, platform, struct, sys
import click, etw, etwdetect, hypothesis, psutil, pyfwnt, pytest
json.dump({
    "system": sys.platform,
    "bits": struct.calcsize("P") * 8,
    "version": list(sys.version_info[:2]),
    "compiler": platform.python_compiler(),
    "release": platform.release(),
    "etwdetect": etwdetect.__file__,
    "installed": sorted(each.name.lower() for each in importlib.metadata.distributions()),
}, sys.stdout)
"""


def test_it_is_a_real_windows_cpython_with_all_that_the_project_needs(lab):
    ran = lab.run_python("-c", PROGRAM)
    assert ran.returncode == 0, ran.stderr
    said = json.loads(ran.stdout)
    assert (said["system"], said["bits"], said["version"], said["release"]) == ("win32", 64, [3, 13], "10")
    assert said["compiler"].startswith("MSC v.")
    assert said["etwdetect"].endswith(r"\etwdetect\__init__.py")
    wanted = {line.partition(">")[0].partition("~")[0].lower() for line in requirements(PROJECT)}
    assert {"pywintrace", "libfwnt-python", "numpy", "psutil"} <= wanted <= set(said["installed"])


def test_a_booted_lab_runs_a_program_and_passes_on_what_it_says(lab):
    assert lab.run_python("-c", "print(6 * 7)").stdout == "42\n"


FAILS = """
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Loaded into Wine, puts the heap over the page at 0x7FFE0000, as Linux does by chance: as often as $FAILURES, a
   file, has bytes. */
__attribute__((constructor)) static void fail(void)
{
    const long page = 0x7ffe0000, heap = (long)sbrk(0);
    struct stat left;
    if (!getenv("WINELOADERNOEXEC") || heap < 0x7d000000 || heap > page) return;
    if (stat(getenv("FAILURES"), &left) || !left.st_size) return;
    if (!truncate(getenv("FAILURES"), left.st_size - 1)) sbrk(page + 0x2000 - heap);
}
"""


@pytest.fixture
def failing(lab, tmp_path):
    """Returns the environment in which Wine fails to start so many processes, one after the other."""
    if (compiler := shutil.which("cc")) is None:
        pytest.skip("there is no compiler for Linux")
    if not launcher():
        pytest.skip("address space randomization can't be switched off here: the heap may lie beyond the page")
    library, failures = tmp_path / "fails.so", tmp_path / "failures"
    source = tmp_path / "fails.c"
    source.write_text(FAILS)
    subprocess.run((compiler, "-shared", "-fPIC", "-o", library, source), check=True)
    before = lab.not_started

    def environment(times):
        failures.write_bytes(b"." * times)
        return {"LD_PRELOAD": str(library), "FAILURES": str(failures)}

    yield environment
    lab.not_started = before  # they were not Wine's own


def test_a_process_that_wine_ended_before_its_first_instruction_is_started_again_once(lab, failing):
    before = lab.not_started
    ran = lab.run_python("-c", "print(6 * 7)", env=failing(1))
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "42\n", "")
    ran = lab.run_python("-c", "print(6 * 7)", env=failing(2))
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.encode().count(NOT_STARTED) == 1
    assert lab.not_started == before + 3


def test_a_program_that_could_not_start_another_is_not_started_again(lab, failing):
    """Only it knows what it had done by then. It is counted all the same, as its standard error tells."""
    environment, before = failing(0), lab.not_started
    failures = windows_path(Path(environment["FAILURES"]))
    program = f"""
import subprocess, sys
open({failures!r}, "w").write(".")
try:
    subprocess.run([sys.executable, "-c", ""], stdin=subprocess.PIPE, capture_output=True)
except OSError as error:
    sys.exit(f"{{error}}")
"""
    ran = lab.run_python("-c", program, env=environment)
    assert (ran.returncode, ran.stderr.splitlines()[-1]) == (1, "[WinError 1359] Internal error")
    assert lab.not_started == before + 1


def heaps(prefix):
    """Where the heap begins in each Windows process of *prefix*: those have the page at 0x7FFE0000."""
    ours = f"WINEPREFIX={prefix}\0".encode()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # others' processes, and those that end meanwhile
            maps = (process / "maps").read_text()
            if "\n7ffe0000-" in maps and ours in (process / "environ").read_bytes():
                yield re.search(r"^(\w+)-.*\[heap\]$", maps, re.MULTILINE)[1]


@pytest.mark.skipif(not launcher(), reason="address space randomization can't be switched off here")
def test_the_heap_is_at_one_place_in_each_process_and_keeps_none_from_starting(lab):
    found = list(heaps(lab.prefix.path))
    assert len(found) > 3  # services that were booted
    assert len(set(found)) == 1


def test_what_takes_too_long_is_ended(lab):
    with pytest.raises(subprocess.TimeoutExpired):
        lab.run_python("-c", "import time; time.sleep(60)", timeout=2)


def test_the_lab_is_one_programs_at_a_time(lab, monkeypatch):
    monkeypatch.setattr("tools.windows_lab.lab._LOCK_SECONDS", 0.1)
    monkeypatch.setenv("ETWDETECT_WINDOWS_LAB", str(lab.root))  # each worker of pytest has a lab of its own
    with pytest.raises(LabError, match="still in use"), open_lab():
        pass
    assert lab.run_python("-c", "").returncode == 0


def test_a_step_that_fails_says_what_it_said_last():
    program = "print('first'); print('the reason'); raise SystemExit(3)"
    with pytest.raises(LabError, match=r"^trying: exit status 3: the reason$"):
        run_step("trying", (sys.executable, "-c", program), timeout=30)
    with pytest.raises(LabError, match=r"^trying: not done after 0 s$"):
        run_step("trying", (sys.executable, "-c", "import time; time.sleep(60)"), timeout=0.2)


def test_a_machine_without_the_programs_is_told_which(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabUnavailableError, match=r"wine, wineserver, .* not found, and this is no Debian"):
        debian.require_programs(install=True)
    (tmp_path / "apt-get").touch(mode=0o755)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(LabUnavailableError, match="as root: apt-get install wine "):
        debian.require_programs(install=True)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    with pytest.raises(LabUnavailableError, match=r"run: python -m tools\.windows_lab$"):
        debian.require_programs(install=False)
