"""The driver's commands on a system that is not Windows: one sentence and exit status 5."""

import subprocess
import sys

import pytest

from etwdetect.core.errors import UnsupportedSystemError
from etwdetect.kdetector import Device, Watcher, service

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="this is Windows")


@pytest.mark.parametrize("command", ["install KDetector.sys", "start", "stop", "uninstall", "status", "watch"])
def test_each_command_explains_itself(command):
    ran = subprocess.run(
        (sys.executable, "-m", "etwdetect", "driver", *command.split()),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    sentence = f"etwdetect: the KDetector driver requires Windows; this system is {sys.platform}\n"
    assert (ran.returncode, ran.stdout, ran.stderr) == (5, "", sentence)


def test_the_client_imports_and_says_so_when_it_is_used():
    watcher = Watcher(lambda: False, print)
    for call in (lambda: Device(reading=False), service.state, lambda: next(iter(watcher))):
        with pytest.raises(UnsupportedSystemError):
            call()
    assert watcher.received == 0
