"""Commands in a terminal, ended with Ctrl+C, as a person does it."""

import os
import pty
import re
import threading

import pytest

from tests.cli.test_jobs import write_trace
from tools.windows_lab.wine import windows_path

LINE = r"[\d:]{8}\.\d{3}: Remote Thread from PID: \d+ TID: \d+ -> PID: 3000 TID: 7"
CTRL_C = b"\x03"
WATCH = ("-m", "etwdetect", "driver", "watch", "--format", "classic")
INJECT = "from parity_tests.windows.injector import Injector; Injector().thread_created(3000, 7)"


@pytest.fixture
def driver(lab, drivers, no_driver):  # noqa: ARG001 (takes the driver away)
    """Returns a function that runs a command of `etwdetect driver`; the driver runs."""

    def run(*arguments):
        ran = lab.run_python("-m", "etwdetect", "driver", *arguments)
        assert ran.returncode == 0, ran.stderr
        return ran

    run("install", windows_path(drivers / "KDetector.sys"))
    run("start")
    return run


@pytest.fixture
def terminal():
    """A terminal: its keyboard, and what a program has for it."""
    keyboard, screen = pty.openpty()
    yield keyboard, screen
    os.close(screen)
    os.close(keyboard)


@pytest.fixture
def watching(lab, driver, terminal):  # noqa: ARG001 (the driver runs)
    """A watch in the terminal that has printed one line."""
    with lab.start_python(*WATCH, terminal=terminal[1]) as process:
        # A watch that does not end must not keep the test from failing.
        killer = threading.Timer(300, process.kill)
        killer.start()
        assert lab.run_python("-c", INJECT).returncode == 0
        assert re.fullmatch(LINE, process.stdout.readline().decode().rstrip())
        yield process
        process.kill()
    killer.cancel()


def finish(process):
    output, errors = process.communicate(timeout=120)
    return process.returncode, output.decode().splitlines(), errors.decode().splitlines()


def test_ctrl_c_while_it_reads(watching, terminal):
    os.write(terminal[0], CTRL_C)
    assert finish(watching) == (0, [], ["etwdetect: KDetector: 1 remote thread, 0 more were lost"])


def test_ctrl_c_while_it_waits_for_the_driver(watching, driver, terminal):
    driver("stop")
    assert watching.stderr.readline().rstrip() == b"etwdetect: KDetector stops; waiting for it to start again"
    os.write(terminal[0], CTRL_C)
    assert finish(watching) == (0, [], ["etwdetect: KDetector: 1 remote thread, 0 more were lost"])


def test_ctrl_c_ends_several_scans_with_their_sum(lab, terminal, tmp_path):
    for number in range(6):
        write_trace(tmp_path / f"{number}.etl", number, noise=30_000)
    scan = ("-m", "etwdetect", "scan", "--jobs", "2", windows_path(tmp_path))
    with lab.start_python(*scan, terminal=terminal[1]) as process:
        assert b"Remote Thread from PID" in process.stdout.readline()
        os.write(terminal[0], CTRL_C)
        status, _, errors = finish(process)
    assert status == 3
    assert not any("Traceback" in line or "KeyboardInterrupt" in line for line in errors)
    assert re.search(r"interrupted: \d of 6 inputs were not read", "\n".join(errors))
