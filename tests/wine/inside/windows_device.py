"""The device as programs see it: records, error codes, control codes, handles."""

import contextlib
import ctypes
import os
import subprocess
import sys
import threading
from ctypes import wintypes

import pytest

from etwdetect.core.errors import NotElevatedError
from etwdetect.kdetector import Device, service
from etwdetect.kdetector.device import RECORDS_PER_READ
from etwdetect.kdetector.errors import (
    DeviceGoneError,
    InUseError,
    NotRunningError,
    WrongVersionError,
)
from etwdetect.kdetector.interface import DEVICE_PATH, IOCTL_STATISTICS, IOCTL_VERSION, RECORD, control_code
from etwdetect.live.clock import filetime_now
from etwdetect.windows import libraries
from etwdetect.windows.devices import kernel32
from etwdetect.windows.libraries import SystemCallError
from tests.wine.inside.conftest import order

FILE_READ_DATA = 1


@pytest.fixture
def handles(running):  # noqa: ARG001
    """Returns a function that opens the device with no help of the client's."""
    with contextlib.ExitStack() as stack:

        def opened(access):
            handle = kernel32().CreateFileW(DEVICE_PATH, access, 7, None, 3, 0, None)
            assert handle != libraries.INVALID_HANDLE_VALUE, libraries.last_error()
            stack.callback(kernel32().CloseHandle, handle)
            return handle

        yield opened


def read(handle, size):
    """Return what a read of *size* bytes gives, or its error."""
    buffer, done = ctypes.create_string_buffer(max(size, 1)), wintypes.DWORD()
    if not kernel32().ReadFile(handle, buffer, size, ctypes.byref(done), None):
        return libraries.last_error()
    return buffer.raw[: done.value]


def control(handle, code, size):
    """Return what a control code with room for *size* bytes gives, or its error."""
    buffer, done = ctypes.create_string_buffer(max(size, 1)), wintypes.DWORD()
    if not kernel32().DeviceIoControl(handle, code, None, 0, buffer, size, ctypes.byref(done), None):
        return libraries.last_error()
    return buffer.raw[: done.value]


def test_the_creator_is_the_thread_that_makes_the_notification(device, injector):
    before = filetime_now()
    injector.thread_created(3000, 7)
    tids = []

    def on_another_thread():
        tids.append(threading.get_native_id())
        injector.thread_created(3000, 8)

    thread = threading.Thread(target=on_another_thread)
    thread.start()
    thread.join()
    after = filetime_now()

    here, there = device.drain()
    assert here[1:5] == (os.getpid(), threading.get_native_id(), 3000, 7)
    assert there[1:5] == (os.getpid(), tids[0], 3000, 8)
    assert tids[0] != threading.get_native_id()
    # Python's clock is read as coarsely as Windows ticks.
    assert before - 200_000 <= here.time <= there.time <= after + 200_000


def test_another_process_is_another_creator(device, injector):  # noqa: ARG001
    program = (
        "import os, threading; from parity_tests.windows.injector import Injector;"
        " Injector().thread_created(3000, 7); print(os.getpid(), threading.get_native_id())"
    )
    said = subprocess.run(
        (sys.executable, "-c", program), capture_output=True, text=True, stdin=subprocess.PIPE, check=True
    )
    pid, tid = map(int, said.stdout.split())
    assert pid != os.getpid()
    assert [record[1:5] for record in device.drain()] == [(pid, tid, 3000, 7)]


def test_an_empty_queue_is_no_end(device, injector):
    assert device.read() == []
    injector.thread_created(3000, 7)
    assert len(device.read()) == 1
    assert device.read() == []


def test_reading_gives_all_that_waits_in_order(device, injector):
    for tid in range(RECORDS_PER_READ + 1):
        injector.thread_created(3000, tid)
    first = device.read()
    assert [record.tid for record in first] == list(range(RECORDS_PER_READ))
    assert [record.tid for record in device.drain()] == [RECORDS_PER_READ]
    assert device.statistics().dropped == 0


def test_a_read_gives_whole_records(handles, injector):
    for tid in range(3):
        injector.thread_created(3000, tid)
    handle = handles(FILE_READ_DATA)
    assert len(read(handle, 2 * RECORD.size - 1)) == RECORD.size
    assert len(read(handle, 1000)) == 2 * RECORD.size


def test_reads_that_can_hold_no_record_have_errors_of_their_own(handles):
    handle = handles(FILE_READ_DATA)
    assert read(handle, 0) == 1784  # ERROR_INVALID_USER_BUFFER
    assert read(handle, RECORD.size - 1) == 122  # ERROR_INSUFFICIENT_BUFFER
    assert read(handle, RECORD.size) == b""


def test_the_version_and_the_record_size(handles):
    assert control(handles(0), IOCTL_VERSION, 8) == bytes((1, 0, 0, 0, 24, 0, 0, 0))


@pytest.mark.parametrize(("code", "size"), [(IOCTL_VERSION, 8), (IOCTL_STATISTICS, 104)])
def test_an_answer_needs_room(handles, code, size):
    handle = handles(0)
    assert len(control(handle, code, size)) == size
    assert len(control(handle, code, size + 1)) == size
    assert control(handle, code, size - 1) == 122  # ERROR_INSUFFICIENT_BUFFER
    assert control(handle, code, 0) == 122


def test_an_unknown_control_code(handles):
    assert control(handles(0), control_code(2), 104) == 1  # ERROR_INVALID_FUNCTION


def test_the_counters_add_up(device, injector):
    injector.process_created(3000)
    for tid in range(4):
        injector.thread_created(3000, tid)
    injector.thread_created(os.getpid(), 5)
    injector.thread_created(4, 6)
    device.read()
    injector.thread_created(3000, 7)
    now = device.statistics()
    assert (now.first_threads, now.own_threads, now.excluded_threads, now.reported) == (1, 1, 1, 4)
    assert now.threads_seen == 7
    assert (now.delivered, now.queued, now.dropped) == (3, 1, 0)
    assert (now.table_bound, now.queue_bound) == (16_384, 65_536)


def test_one_handle_reads_and_any_number_asks(handles, injector):
    # Wine lets every open succeed, whatever the driver says of it; the second reader's reads are refused.
    first, second = handles(FILE_READ_DATA), handles(FILE_READ_DATA)
    asking = [handles(0) for _ in range(3)]
    injector.thread_created(3000, 7)
    assert read(second, 1000) == libraries.ERROR_ACCESS_DENIED
    assert len(read(first, 1000)) == RECORD.size
    assert [len(control(handle, IOCTL_STATISTICS, 104)) for handle in asking] == [104, 104, 104]


def test_the_next_reader_is_let_in_when_the_last_has_gone(injector):
    for tid in range(3):
        with Device(reading=True) as device:
            injector.thread_created(3000, tid)
            assert [record.tid for record in device.drain()] == [tid]


def test_a_handle_that_only_asks_cannot_read(handles):
    assert read(handles(0), 1000) == libraries.ERROR_ACCESS_DENIED


def test_the_device_goes_with_the_driver(device, injector):
    injector.close()
    service.stop()
    with pytest.raises(DeviceGoneError):
        device.read()
    with pytest.raises(DeviceGoneError):
        device.statistics()
    with pytest.raises(NotRunningError):
        Device(reading=True)
    service.start()
    with Device(reading=True) as again:
        assert again.read() == []


def test_closing_twice_closes_nobody_elses_handle(device):
    device.close()
    # Windows gives the lowest free handle: the one that was just closed.
    with Device(reading=True) as next_one:
        device.close()
        assert next_one.read() == []


@pytest.mark.parametrize("error", [InUseError, NotElevatedError, NotRunningError])
def test_what_windows_says_when_it_opens_nothing(tmp_path, error):
    # A file and a directory stand in: the errors are the system's own, which Wine does not give for devices.
    path = tmp_path / "taken"
    if error is NotElevatedError:
        path.mkdir()
    elif error is InUseError:
        handle = kernel32().CreateFileW(str(path), 0xC0000000, 0, None, 2, 0, None)
        assert handle != libraries.INVALID_HANDLE_VALUE
    with pytest.raises(error):
        Device(str(path), reading=True)
    if error is InUseError:
        kernel32().CloseHandle(handle)


@pytest.mark.parametrize(("name", "value"), [("Version", 2), ("RecordSize", 32)])
def test_a_driver_of_another_version_is_not_read(install, name, value):
    install("unruly.sys")
    order(name, value)
    service.start()
    with pytest.raises(WrongVersionError) as raised:
        Device(reading=True)
    assert value in (raised.value.version, raised.value.record_size)


def test_an_error_without_a_class_has_its_number(install):
    install("unruly.sys")
    order("ReadStatus", 0xC000009A)  # STATUS_INSUFFICIENT_RESOURCES
    service.start()
    with Device(reading=True) as device, pytest.raises(SystemCallError) as raised:
        device.read()
    assert raised.value.code == 1450  # ERROR_NO_SYSTEM_RESOURCES
    assert str(raised.value).startswith("reading from KDetector: ")
