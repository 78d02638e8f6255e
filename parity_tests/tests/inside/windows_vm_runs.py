"""A whole run of the vm bench with a driver of its own, as a user starts it; and what a killed one leaves.

In the lab the bench notifies both detectors itself, since the lab's driver can be told.
"""

import os
import random
import subprocess
import sys
import time
import winreg

import pytest

from etwdetect.kdetector import service
from etwdetect.live import ownership
from etwdetect.windows.services import State
from parity_tests import loading
from parity_tests.evaluation import evaluate
from parity_tests.evidence import replay
from parity_tests.windows import agents, api, driver_service, lab_worker, notifier, own_driver
from parity_tests.windows.executor import Programs, perform

SCENARIOS = ("attach-then-break",)
KILLS = int(os.environ.get("ETWDETECT_KILLS", "1"))
"""How often a run is killed; acceptance wants ten."""
LEFT = "removed KDetector, left by a run of the vm bench that was killed"


def command(*more):
    return (
        *(sys.executable, "-m", "etwdetect", "parity", "run", *SCENARIOS, "--bench", "vm", "--not-a-vm"),
        *("--driver", str(notifier.DRIVER), *more),
    )


def run(*more):
    done = subprocess.run(command(*more), input="", capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(autouse=True)
def _no_driver():
    driver_service.remove()
    yield
    driver_service.remove()


def nothing_is_left():
    with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, own_driver.KEY) as key:
        assert winreg.QueryInfoKey(key)[1] == 0
    return driver_service.remove() == []


def test_one_command_installs_runs_and_uninstalls(tmp_path):
    evidence = tmp_path / "evidence.zip"
    status, out, err = run("--evidence", str(evidence))
    assert (status, err) == (0, ""), out + err
    assert "1 passed, 0 failed, 0 skipped" in out
    assert nothing_is_left()
    assert [(each.subject, each.status) for each in replay(evidence)] == [(name, "passed") for name in SCENARIOS]
    assert [path.name for path in tmp_path.iterdir()] == ["evidence.zip"]


def test_what_a_run_has_started_ends_with_it_however_it_ends():
    code = (
        "import sys; from parity_tests.windows import api, job; job.end_children_with_us();"
        "print(api.start_process('cmd.exe /d /q').pid, flush=True); sys.stdin.read()"
    )
    pipes = dict.fromkeys(("stdin", "stdout"), subprocess.PIPE)
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as killed:
        child = int(killed.stdout.readline())
        assert not api.wait_for_process(child, 0)
        killed.kill()
    assert api.wait_for_process(child, 10)


def test_what_a_killed_run_leaves_is_removed_by_the_next_one():
    with subprocess.Popen(
        command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as killed:
        while service.state() != State.RUNNING:
            assert killed.poll() is None
        killed.kill()
    assert service.state() is not None
    status, out, err = run()
    assert (status, err) == (0, f"etwdetect: {LEFT}\n"), out + err
    assert nothing_is_left()


@pytest.fixture(scope="module")
def seconds():
    """How long a whole run takes."""
    before = time.monotonic()
    assert run()[0] == 0
    return time.monotonic() - before


@pytest.mark.parametrize("number", range(KILLS))
def test_a_run_killed_at_any_moment_is_cleaned_up_by_the_next_one_which_is_green(seconds, number, tmp_path):
    moment = random.Random(number).random() * seconds
    with subprocess.Popen(
        command(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as killed:
        time.sleep(moment)
        killed.kill()
    evidence = tmp_path / "evidence.zip"
    status, out, err = run("--evidence", str(evidence))
    assert (status, err) in {(0, ""), (0, f"etwdetect: {LEFT}\n")}, (moment, out, err)
    assert nothing_is_left()
    assert [(each.subject, each.status) for each in replay(evidence)] == [(name, "passed") for name in SCENARIOS]


def test_a_run_that_was_killed_between_its_steps_is_cleaned_up_too():
    # The mark, and nothing else yet; then the file without the service.
    for leave in (lambda: None, lambda: service.file().write_bytes(b"half a driver")):
        own_driver.mark("etwdetect-parity-1-1")
        leave()
        said = []
        own_driver.clean_up(said.append)
        assert said == []
        assert nothing_is_left()


def test_the_driver_of_a_run_that_still_runs_is_left_alone():
    name = ownership.name_of(ownership.this_process("parity"))
    own_driver.mark(name)
    try:
        status, _, err = run()
        assert status == 1
        assert "another run of the vm bench, process " in err
        assert own_driver.marked() == name
    finally:
        own_driver.mark(None)


def test_a_driver_that_somebody_installed_is_left_alone():
    service.install(notifier.DRIVER)
    status, _, err = run()
    assert (status, "KDetector is already installed" in err) == (1, True)
    assert service.state() is State.STOPPED


def test_a_driver_that_cannot_be_installed_leaves_nothing(tmp_path):
    done = subprocess.run(
        [*command()[:-1], str(tmp_path / "no.sys")], input="", capture_output=True, text=True, check=False
    )
    assert (done.returncode, "no.sys: no such file" in done.stderr) == (1, True)
    assert nothing_is_left()


NOTEPAD = """
title = "A thread in a Notepad"
why = "Something to look at"
steps = [{ create_remote_thread = "hostname", by = "injector", at = "nowhere", named = "payload" }]
expect = [{ thread_in = "hostname/payload", made_by = "injector" }]
processes = { hostname = { running = true }, injector = { running = true } }
"""


def test_a_notepad_that_hands_over_is_replaced_by_a_program_that_stays(monkeypatch):
    monkeypatch.setattr(agents, "_NOTEPAD", "hostname.exe")  # a program that ends at once
    scenario, programs = loading.parse(NOTEPAD, "notepad"), Programs(notepad=True)
    for _ in range(2):  # the second time it is not tried again
        seen = perform(scenario, lambda: lab_worker.load(scenario), notify=True, programs=programs)
        result = evaluate(scenario, "vm", seen)
        assert (result.status, programs.notepad) == ("passed", False)
        (note,) = result.notes
        assert note.startswith("hostname was performed by cmd.exe: Notepad (")
        assert note.endswith("ended by itself, as where it hands over to the Notepad from the Store")


def test_a_notepad_that_stays_is_used(monkeypatch):
    monkeypatch.setattr(agents, "_NOTEPAD", "ping.exe -n 100 127.0.0.1")
    text = NOTEPAD.replace(
        "processes = { hostname = {", 'processes = { hostname = { image = "ping.exe -n 100 127.0.0.1",'
    )
    scenario = loading.parse(text, "notepad")
    seen = perform(scenario, lambda: lab_worker.load(scenario), notify=True, programs=Programs(notepad=True))
    result = evaluate(scenario, "vm", seen)
    assert (result.status, result.notes) == ("passed", ())
