"""The driver as a service, and the commands that control it, each started as a user starts it."""

import errno
import shutil
import subprocess
import sys
import winreg
from pathlib import Path

import pytest

from etwdetect.kdetector import Device, service
from etwdetect.kdetector.errors import (
    AlreadyInstalledError,
    AlreadyRunningError,
    KDetectorError,
    NotRunningError,
    RemovalPendingError,
)
from etwdetect.windows import libraries, services
from etwdetect.windows.libraries import SystemCallError
from etwdetect.windows.services import State
from parity_tests.windows.driver_service import remove
from tests.wine.inside.conftest import DRIVERS, order

INSTALLED = Path(r"C:\windows\system32\drivers\KDetector.sys")
IMAGE = str(DRIVERS / "KDetector.sys")
DELETE = 0x10000


def etwdetect(*arguments):
    """Run the command line; return its exit status, its output, and the lines of its standard error."""
    ran = subprocess.run(
        (sys.executable, "-m", "etwdetect", *arguments),
        stdin=subprocess.PIPE,
        capture_output=True,
        text=True,
        check=False,
    )
    return ran.returncode, ran.stdout, ran.stderr.splitlines()


def configured():
    key = rf"SYSTEM\CurrentControlSet\Services\{service.SERVICE_NAME}"
    with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, key) as opened:
        return {name: winreg.QueryValueEx(opened, name)[0] for name in ("Type", "Start", "ImagePath")}


def test_a_test_that_finds_what_another_left_says_so_and_takes_it_away(request):
    remove()
    service.install(Path(IMAGE))
    with pytest.raises(pytest.fail.Exception, match=r"an earlier test left .*: the service KDetector, stopped, "):
        request.getfixturevalue("install")
    assert remove() == []


def test_the_way_of_a_driver_through_the_commands(install):  # noqa: ARG001 (cleans up)
    assert etwdetect("driver", "status") == (0, "KDetector: not installed\n", [])
    assert etwdetect("driver", "install", IMAGE, "--table-bound", "7", "--queue-bound", "9") == (
        0,
        "",
        [f"etwdetect: installed {INSTALLED}"],
    )
    assert INSTALLED.read_bytes() == Path(IMAGE).read_bytes()
    assert etwdetect("driver", "status") == (0, "KDetector: stopped\n", [])
    assert etwdetect("driver", "start") == (0, "", ["etwdetect: KDetector is running"])
    status, said, errors = etwdetect("driver", "status")
    assert (status, errors) == (0, [])
    rows = dict(line.rsplit(None, 1) for line in said.splitlines()[1:])
    assert said.startswith("KDetector: running\n")
    assert (rows["threads seen"], rows["table bound"], rows["queue bound"]) == ("0", "7", "9")
    assert len(rows) == 13
    assert etwdetect("driver", "stop") == (0, "", ["etwdetect: KDetector has stopped"])
    assert etwdetect("driver", "start")[0] == 0
    assert etwdetect("driver", "uninstall") == (0, "", ["etwdetect: KDetector is uninstalled"])
    assert not INSTALLED.exists()
    assert service.state() is None


def test_a_driver_that_lies_where_it_belongs_can_be_installed(install):  # noqa: ARG001 (cleans up)
    INSTALLED.write_bytes(Path(IMAGE).read_bytes())
    assert etwdetect("driver", "install", str(INSTALLED))[0] == 0
    assert INSTALLED.read_bytes() == Path(IMAGE).read_bytes()


def test_of_a_driver_that_there_is_no_room_for_nothing_is_left(install, monkeypatch):
    def full(_source, target):
        Path(target).write_bytes(b"MZ")
        raise OSError(errno.ENOSPC, "No space left on device", f"{target}")

    before = list(INSTALLED.parent.iterdir())
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "copyfile", full)
        with pytest.raises(KDetectorError, match="No space left on device"):
            install()
    assert service.state() is None
    assert list(INSTALLED.parent.iterdir()) == before


def test_it_is_registered_as_a_kernel_driver_that_starts_on_demand(install):
    assert str(install()) == str(INSTALLED)
    # Wine keeps the path as it was given; Windows as well.
    assert configured() == {
        "Type": 1,
        "Start": 3,
        "ImagePath": r"\SystemRoot\System32\drivers\KDetector.sys",
    }


def test_without_bounds_the_driver_has_its_own(running):  # noqa: ARG001
    with Device(reading=False) as device:
        now = device.statistics()
    assert (now.table_bound, now.queue_bound) == (16_384, 65_536)


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (("start",), 1, "KDetector is not installed; install it with: etwdetect driver install KDetector.sys"),
        (("stop",), 1, "KDetector is not installed; install it with: etwdetect driver install KDetector.sys"),
        (
            ("uninstall",),
            1,
            "KDetector is not installed; install it with: etwdetect driver install KDetector.sys",
        ),
        (("install", "missing.sys"), 1, "missing.sys: no such file"),
        (("watch",), 1, "KDetector is not running; start it with: etwdetect driver start"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
def test_commands_without_a_driver(install, arguments, status, sentence):  # noqa: ARG001 (cleans up)
    assert etwdetect("driver", *arguments) == (status, "", [f"etwdetect: {sentence}"])


@pytest.mark.parametrize("bound", ["0", "1048577", "many"])
def test_a_bound_that_the_driver_would_not_take_is_a_usage_error(install, bound):  # noqa: ARG001
    status, said, errors = etwdetect("driver", "install", IMAGE, "--queue-bound", bound)
    assert (status, said) == (2, "")
    assert "--queue-bound" in errors[-1]
    assert service.state() is None


def test_install_does_not_touch_what_is_installed(install):
    install()
    with pytest.raises(AlreadyInstalledError):
        install("unruly.sys")
    assert INSTALLED.read_bytes() == Path(IMAGE).read_bytes()


def test_install_that_cannot_copy_leaves_nothing(install):
    # A directory in the file's place can't be written to.
    INSTALLED.mkdir()
    try:
        with pytest.raises(KDetectorError, match=r"KDetector\.sys"):
            install()
        assert service.state() is None
    finally:
        INSTALLED.rmdir()


def test_start_and_stop_know_what_is_done_already(running):  # noqa: ARG001
    with pytest.raises(AlreadyRunningError):
        service.start()
    service.stop()
    with pytest.raises(NotRunningError):
        service.stop()
    assert service.state() == State.STOPPED


def test_start_and_stop_again_and_again(install):
    install()
    for _ in range(20):
        service.start()
        with Device(reading=True) as device:
            assert device.read() == []
        service.stop()


def test_start_without_the_file(install):
    install()
    INSTALLED.unlink()
    with pytest.raises(SystemCallError, match="starting KDetector: "):
        service.start()


def test_a_service_that_is_held_open_is_pending_removal(install):
    install()
    advapi32 = services.advapi32()
    manager = advapi32.OpenSCManagerW(None, None, 1)
    held = advapi32.OpenServiceW(manager, service.SERVICE_NAME, DELETE)
    assert advapi32.DeleteService(held), libraries.last_error()
    try:
        with pytest.raises(RemovalPendingError):
            install()
    finally:
        advapi32.CloseServiceHandle(held)
        advapi32.CloseServiceHandle(manager)
    assert service.state() is None


@pytest.mark.parametrize(
    ("load_status", "status", "sentence"),
    [
        (0xC0000428, 1, "Windows refused the driver's signature (577); "),  # STATUS_INVALID_IMAGE_HASH
        # STATUS_ACCESS_DENIED, to an administrator as everybody is one in Wine.
        (0xC0000022, 1, "starting KDetector: access denied (5), though this program is elevated; "),
        (0xC000036C, 1, "Windows blocked the driver (1275): "),  # STATUS_DRIVER_BLOCKED
    ],
)
def test_start_that_windows_refuses(install, load_status, status, sentence):
    install("unruly.sys")
    order("LoadStatus", load_status)
    ended, said, errors = etwdetect("driver", "start")
    assert (ended, said, len(errors)) == (status, "", 1)
    assert errors[0].startswith(f"etwdetect: {sentence}")
    assert service.state() == State.STOPPED
