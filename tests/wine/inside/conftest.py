"""What the tests inside Windows share: the driver, installed and running, and the device beside it."""

import contextlib
import winreg
from pathlib import Path

import pytest

from etwdetect.kdetector import Device, service
from parity_tests.windows.driver_service import remove
from parity_tests.windows.injector import Injector

DRIVERS = Path(__file__).resolve().parents[3] / "build" / "driver" / "wine"


@pytest.fixture
def install():
    """Returns a function that installs a driver under KDetector's name; at the end it is removed in any case."""

    def install(name="KDetector.sys", **bounds):
        return service.install(DRIVERS / name, **bounds)

    if found := remove():
        pytest.fail(f"an earlier test left in the lab, where it is removed now: {', '.join(found)}")
    yield install
    remove()


@pytest.fixture
def running(install):
    """Installs and starts KDetector; its counters are at zero."""
    install()
    service.start()


@pytest.fixture
def injector(running):  # noqa: ARG001
    with contextlib.closing(Injector()) as opened:
        yield opened


@pytest.fixture
def device(injector):  # noqa: ARG001
    with Device(reading=True) as opened:
        yield opened


def order(name, value):
    """Tell the unruly driver, which is installed, what to do from its next start on."""
    with winreg.CreateKey(winreg.HKEY_LOCAL_MACHINE, service.PARAMETERS_KEY) as key:
        winreg.SetValueEx(key, name, 0, winreg.REG_DWORD, value)
