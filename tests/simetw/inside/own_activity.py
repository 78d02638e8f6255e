"""A program that reads its own session: what it does itself is what it sees. Prints what came, as words."""

import ctypes as ct
import subprocess
import sys
import threading
import time

from etw import ETW, ProviderInfo, tdh
from etw.etw import RETURN_RAW_UNFORMATTED_DATA
from etw.GUID import GUID

KERNEL_PROCESS = GUID("{22FB2CD6-0E7B-422B-A0C7-2FAD1FD0E716}")
KERNEL = GUID("{9E814AAD-3204-11D2-9A82-006008A86939}")
SECONDS = 20.0
ADDED = {"EventHeader", "Task Name", "Description"}

came = []


def say(*words):
    sys.stdout.write(" ".join(map(str, words)) + "\n")


def record(event):
    came.append(event[1])


def child():
    process = subprocess.Popen((sys.executable, "-c", "input()"), stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    process.communicate(b"\n")
    return process.pid


def until(condition, seconds=SECONDS):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)


def seen(first):
    """Start children until one is seen from its start, the event *first*: ProcessTrace runs on another thread."""
    while True:
        came.clear()
        pid = child()
        until(lambda pid=pid: of(pid), seconds=2.0)
        if names(pid)[:1] == [first]:
            return pid


def of(pid):
    return [event for event in came if event.get("ProcessID", event.get("ProcessId")) == str(pid)]


def names(pid):
    return [event["Task Name"] for event in of(pid)]


def provider(*, expected):
    with ETW(providers=[ProviderInfo("Microsoft-Windows-Kernel-Process", KERNEL_PROCESS)], event_callback=record):
        pid = seen("PROCESSSTART") if expected else child()
        thread = threading.Thread(target=time.sleep, args=(0,))
        thread.start()
        thread.join()
        if expected:
            until(lambda: "PROCESSSTOP" in names(pid))
        else:
            time.sleep(1.5)
    for event in of(pid):
        say(f"{event['Task Name']}:{len(event.keys() - ADDED)}")
    if any(event["Task Name"] == "THREADSTART" and event["ThreadID"] == str(thread.native_id) for event in came):
        say("own-thread")


def kernel():
    with ETW(
        session_name="NT Kernel Logger",
        providers=[ProviderInfo("Windows Kernel Trace", KERNEL, any_keywords=["process"])],
        event_callback=record,
    ):
        pid = seen("PROCESS")
    say(f"{names(pid)[0]}:{len(of(pid)[0].keys() - ADDED)}")


def properties():
    found = []

    def read(event):
        pointer = event[1]
        if event[0] == 0 and pointer.contents.EventHeader.EventDescriptor.Id != 1:
            return
        descriptor = tdh.PROPERTY_DATA_DESCRIPTOR()
        name = ct.create_unicode_buffer("imagename")
        descriptor.PropertyName = ct.addressof(name)
        descriptor.ArrayIndex = 0xFFFFFFFF
        size = ct.c_ulong()
        if tdh.TdhGetPropertySize(pointer, 0, None, 1, ct.byref(descriptor), ct.byref(size)):
            return
        value = (ct.c_byte * size.value)()
        tdh.TdhGetProperty(pointer, 0, None, 1, ct.byref(descriptor), size, value)
        missing = ct.create_unicode_buffer("NoSuchField")
        descriptor.PropertyName = ct.addressof(missing)
        error = tdh.TdhGetPropertySize(pointer, 0, None, 1, ct.byref(descriptor), ct.byref(size))
        found.append((bytes(value).decode("utf-16-le").rstrip("\0"), error))

    with ETW(
        providers=[ProviderInfo("Microsoft-Windows-Kernel-Process", KERNEL_PROCESS)],
        event_callback=read,
        callback_data_flag=RETURN_RAW_UNFORMATTED_DATA,
    ):
        while not found:
            child()
            time.sleep(0.1)
    image, error = found[0]
    say("ImageName", image.lower().endswith("\\python.exe"), f"missing:{error}")


match sys.argv[1:]:
    case ["provider"]:
        provider(expected=True)
    case ["provider", "nothing"]:
        provider(expected=False)
    case ["kernel"]:
        kernel()
    case ["properties"]:
        properties()
