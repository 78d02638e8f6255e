"""The Win32 calls on a system that is not Windows: the modules import, and the error names what was asked for."""

import sys

import pytest

from etwdetect.core.errors import UnsupportedSystemError
from etwdetect.live import system
from etwdetect.windows import (
    accounts,
    console,
    devices,
    eventlog,
    libraries,
    processes,
    services,
    tracing,
    volumes,
)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="this is Windows")

CALLS = {
    "listing drive letters": lambda: next(volumes.drives()),
    "looking up a process": lambda: processes.image_path(4),
    "looking up the user of a process": lambda: accounts.user_sid(4),
    "elevation": accounts.is_elevated,
    "device I/O": devices.kernel32,
    "the Service Control Manager": services.advapi32,
    "the system directory": services.system_directory,
    "a live session": tracing.build,
    "the Windows event log": lambda: eventlog.open_source("etwdetect", "EventCreate.exe"),
    "a console control handler": lambda: console.add_handler(bool),
    "a Win32 error code": libraries.last_error,
}


@pytest.mark.parametrize("subject", CALLS)
def test_each_call_says_that_it_requires_windows(subject):
    with pytest.raises(UnsupportedSystemError) as raised:
        CALLS[subject]()
    assert str(raised.value) == f"{subject} requires Windows; this system is {sys.platform}"


def test_volumes_of_a_live_session_are_not_said_to_be_about_the_driver():
    with pytest.raises(UnsupportedSystemError, match=r"^listing drive letters requires Windows"):
        list(system.volumes(0))
