"""The monitor as a service: installed, started, stopped, killed and replaced, as a user does it, under Wine.

test_service.py hands this over, with a name for the simulated machine that the service is on, too.
"""

import contextlib
import ctypes
import io
import json
import os
import subprocess
import sys
import winreg
from pathlib import Path

import pytest

import etwdetect
from etwdetect.cli import main, service
from etwdetect.core.events import ThreadStart
from etwdetect.sources.decode.encode import encode
from etwdetect.windows import services
from etwdetect.windows.libraries import SystemCallError
from parity_tests.simulators.simetw import Setting, SimEtw
from tests.running import until

LIBRARY = Path(__file__).resolve().parents[3] / "build" / "simetw" / "simetw.dll"
SERVICE_KEY = r"SYSTEM\CurrentControlSet\Services\etwdetect"
MACHINE_KEY = r"SOFTWARE\simetw"
NAME = service.NAME


def run(*arguments):
    """Run a command of `etwdetect service`; return its exit status, output, and lines on standard error."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        status = main(["service", *map(str, arguments)])
    return status, out.getvalue(), err.getvalue().splitlines()


def run_as_a_program(*arguments):
    """Do the same in a process of its own, as a user does."""
    command = (sys.executable, "-m", "etwdetect", "service", *map(str, arguments))
    ran = subprocess.run(command, stdin=subprocess.PIPE, capture_output=True, text=True, check=False, timeout=100)
    return ran.returncode, ran.stdout, ran.stderr.splitlines()


@pytest.fixture
def machine():
    simulated = SimEtw(LIBRARY)
    simulated.reset()
    with winreg.CreateKey(winreg.HKEY_LOCAL_MACHINE, MACHINE_KEY) as key:
        winreg.SetValueEx(key, "Machine", 0, winreg.REG_SZ, os.environ["ETWDETECT_SIMETW"])
    yield simulated
    winreg.DeleteKey(winreg.HKEY_LOCAL_MACHINE, MACHINE_KEY)
    simulated.reset()


@pytest.fixture(autouse=True)
def _no_service(machine):  # noqa: ARG001 (is there before it, and after)
    assert services.state(NAME) is None, "an earlier test left the service"
    yield
    if services.state(NAME) is not None:
        run("uninstall")


class Folder:
    """Where the service has its configuration, its log and its output."""

    def __init__(self, path):
        self.config, self.log, self.output = (path / name for name in ("service.toml", "service.log", "hits.json"))

    def write(self, more="", form="json"):
        text = f'format = "{form}"\noutput = {json.dumps(str(self.output))}\n{more}'
        self.config.write_text(text, "utf-8")

    def said(self):
        """Return what the service said, without the times, which are checked."""
        lines = self.log.read_text("utf-8").splitlines()
        times, said = zip(*(line.split(" ", 1) for line in lines), strict=True)
        assert list(times) == sorted(times)
        return said

    def threads(self):
        """Return the new thread ids in the output, which has whole lines."""
        data = self.output.read_bytes()
        assert data.endswith(b"\n") or not data
        return [json.loads(line)["NewThreadId"] for line in data.splitlines()]


@pytest.fixture
def folder(tmp_path):
    made = Folder(tmp_path)
    made.write()
    return made


def log_thread(machine, tid):
    machine.log([encode(ThreadStart(0, 400_004, 400_012, 400_008, tid, 0x1000))])


def install(folder):
    status, _, errors = run("install", "--config", folder.config)
    # Wine keeps no recovery settings.
    assert errors[0].endswith("; the service will not be restarted when it fails")
    assert (status, errors[1:]) == (
        0,
        [f"etwdetect: installed the service {NAME}, with the configuration {folder.config}"],
    )


def start(folder):
    install(folder)
    assert run("start") == (0, "", [f"etwdetect: the service {NAME} is running"])


def test_the_way_of_a_service_through_the_commands(machine, folder):
    assert run("status") == (0, f"{NAME}: not installed\n", [])
    start(folder)
    status, out, _ = run_as_a_program("status")
    assert status == 0
    assert out.splitlines() == [f"{NAME}: running", f"configuration: {folder.config}", f"log: {folder.log}"]
    (session,) = machine.sessions()
    log_thread(machine, 1)
    log_thread(machine, 2)
    assert run_as_a_program("stop") == (0, "", [f"etwdetect: the service {NAME} has stopped"])
    # All that was logged before the stop is there, and the session is gone.
    assert folder.threads() == [1, 2]
    assert machine.sessions() == []
    assert session.name.startswith("etwdetect-monitor-")
    assert folder.said()[0] == f"the service runs: etwdetect {etwdetect.__version__}"
    assert folder.said()[-1] == "the service ends, as it was told, with exit status 0"
    assert run("status")[1].splitlines()[0] == f"{NAME}: stopped"
    assert run("uninstall") == (0, "", [f"etwdetect: uninstalled the service {NAME}"])
    assert services.state(NAME) is None
    assert folder.config.exists()


def test_it_is_installed_to_start_with_windows_and_to_be_restarted(folder):
    install(folder)
    with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, SERVICE_KEY) as key:
        found = {name: winreg.QueryValueEx(key, name)[0] for name in ("Start", "Type", "ImagePath")}
    assert (found["Start"], found["Type"]) == (services.AUTO_START, services.OWN_PROCESS)
    assert found["ImagePath"].endswith(f"-I -m etwdetect service run --config {folder.config}")


def test_the_recovery_settings_are_what_windows_takes(monkeypatch):
    # Wine keeps none, so what is passed is looked at.
    passed = {}

    def configure(_name, _access, what, info):
        passed[what] = info.contents

    monkeypatch.setattr(services, "_configure", configure)
    services.restart_on_failure(NAME, (5, 60), 86_400)
    actions = passed[services._FAILURE_ACTIONS]
    assert ctypes.sizeof(actions) == 40
    assert (actions.dwResetPeriod, actions.cActions) == (86_400, 2)
    assert passed[services._FAILURE_ACTIONS_FLAG].value == 1


def test_a_killed_service_can_be_started_again_and_removes_its_orphaned_session(machine, folder):
    start(folder)
    log_thread(machine, 1)
    until(lambda: folder.output.exists() and folder.threads() == [1], "the first record")
    kill(machine)
    # Wine's service manager does not notice, as Windows' does, but starts it again all the same.
    assert len(machine.sessions()) == 1
    assert run("start") == (0, "", [f"etwdetect: the service {NAME} is running"])
    assert len(machine.sessions()) == 1
    log_thread(machine, 2)
    assert run("stop")[0] == 0
    assert folder.threads() == [1, 2]
    assert any(line.startswith("stopped the orphaned session ") for line in folder.said())


def kill(machine):
    """End the service's process, which its session names."""
    (session,) = machine.sessions()
    os.kill(int(session.name.split("-")[2]), 9)


def test_a_newer_program_takes_over_while_it_runs_with_the_configuration_it_had(machine, folder):
    start(folder)
    log_thread(machine, 1)
    old = machine.sessions()[0].name
    status, _, errors = run("install")  # as the newer .zip's etwdetect.exe would
    assert (status, [line.partition(": ")[2] for line in errors]) == (
        0,
        [
            f"installed the service {NAME}, with the configuration {folder.config}",
            f"the service {NAME} has stopped",
            f"the service {NAME} is running",
        ],
    )
    (new,) = machine.sessions()
    assert new.name != old
    log_thread(machine, 2)
    assert run("stop")[0] == 0
    assert folder.threads() == [1, 2]


def test_a_start_that_lacks_something_is_told_and_kept(machine, folder):
    machine.set(Setting.KERNEL_PROCESS_REGISTERED, 0)
    install(folder)
    status, _, errors = run("start")
    assert status == 0
    assert errors[0] == f"etwdetect: the service {NAME} is running"
    assert errors[1].startswith("etwdetect: it started degraded: Windows does not report what is enabled")
    status, out, _ = run("status")
    assert (status, out.splitlines()[3][:44]) == (3, "degraded: Windows does not report what is en")
    assert any(line.startswith("it started degraded: ") for line in folder.said())
    # The next start is judged by itself.
    machine.set(Setting.KERNEL_PROCESS_REGISTERED, 1)
    assert run("stop")[0] == 0
    assert run("start") == (0, "", [f"etwdetect: the service {NAME} is running"])
    assert run("status")[0] == 0


def test_a_start_that_fails_says_where_it_is_said_why(machine, folder):
    machine.set(Setting.ELEVATED, 0)
    install(folder)
    status, _, errors = run("start")
    assert (status, errors) == (
        1,
        [f"etwdetect: the service {NAME} did not start; {folder.log} and the event log Application say why"],
    )
    assert "access denied" in folder.said()[0]
    assert folder.said()[-1] == "the service ends, by itself, with exit status 4"
    status, out, _ = run("status")
    assert (status, out.splitlines()[-1]) == (3, "ended by itself with exit status 4; the log says why")


def test_a_configuration_that_became_wrong_is_a_start_that_fails(folder):
    install(folder)
    folder.write("colour = true\n")
    assert run("start")[0] == 1
    assert "No such option '--colour'" in " ".join(folder.said())
    assert services.status(NAME).dwServiceSpecificExitCode == 1


def test_a_configuration_is_checked_before_anything_is_installed(folder):
    folder.write("rotate = 'much'\n")
    status, _, errors = run("install", "--config", folder.config)
    assert (status, len(errors)) == (1, 1)
    assert errors[0].startswith(f"etwdetect: {folder.config}: Invalid value for '--rotate': ")
    assert services.state(NAME) is None


def test_without_a_configuration_one_is_made(monkeypatch, tmp_path):
    monkeypatch.setenv("PROGRAMDATA", str(tmp_path))
    path = tmp_path / "etwdetect" / "service.toml"
    status, _, errors = run("install")
    assert (status, errors[1:]) == (
        0,
        [f"etwdetect: installed the service {NAME}, with the configuration {path}"],
    )
    assert run("start")[0] == 0
    assert run("stop")[0] == 0
    assert (path.parent / service.LOG).exists()
    assert (path.parent / "hits.json").exists()
    # A configuration that is there stays, also where no service knows of it any more.
    path.write_text(path.read_text("utf-8") + "stats = 60\n", "utf-8")
    assert run("uninstall")[0] == 0
    assert f"etwdetect: uses the configuration that is there: {path}" in run("install")[2]
    assert path.read_text("utf-8").endswith("stats = 60\n")


def test_the_output_is_rotated_in_whole_lines(machine, folder):
    folder.write("rotate = 0.001\nkeep = 2\n")
    start(folder)
    for tid in range(1, 9):
        log_thread(machine, tid)
    assert run("stop")[0] == 0
    files = sorted(folder.output.parent.glob("hits.json*"))
    assert len(files) == 3
    lines = [json.loads(line) for file in files for line in file.read_bytes().splitlines(keepends=True)]
    assert {line["NewThreadId"] for line in lines} <= set(range(1, 9))


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("start", "is not installed; install it with: etwdetect service install"),
        ("stop", "is not installed; install it with: etwdetect service install"),
        ("uninstall", "is not installed; install it with: etwdetect service install"),
    ],
)
def test_what_cannot_be_done_is_said(command, sentence):
    assert run(command) == (1, "", [f"etwdetect: the service {NAME} {sentence}"])


def test_what_is_done_already_is_said(folder):
    install(folder)
    assert run("stop") == (1, "", [f"etwdetect: the service {NAME} is not running"])
    assert run("start")[0] == 0
    assert run("start") == (1, "", [f"etwdetect: the service {NAME} is already running"])


def test_it_is_no_command_for_a_terminal(folder):
    status, _, errors = run("run", "--config", folder.config)
    assert (status, len(errors)) == (1, 1)
    assert errors[0].startswith("etwdetect: connecting to the service manager: ")
    with pytest.raises(SystemCallError):
        services.start("no such service")
    with contextlib.suppress(FileNotFoundError):
        folder.log.unlink()
