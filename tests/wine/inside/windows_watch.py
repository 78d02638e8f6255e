"""`etwdetect driver watch` as a process of its own, while threads are created and the driver comes and goes."""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from etwdetect.kdetector import Device, Watcher, service
from parity_tests.windows.driver_service import remove
from parity_tests.windows.injector import Injector
from tests.running import PATIENCE, Running, ids
from tests.wine.inside.conftest import order


@pytest.fixture
def watch():
    """Returns a function that starts a watch; it is gone at the end, and so is its handle."""
    with contextlib.ExitStack() as stack:

        def start(*arguments):
            started = Running("driver", "watch", *arguments)
            stack.callback(started.close)
            return started

        yield start


def seen(line):
    return ids(line)[:4]


def me(pid, tid):
    return (os.getpid(), threading.get_native_id(), pid, tid)


def test_it_prints_the_books_line_for_each_remote_thread_at_once(injector, watch):
    injector.thread_created(3000, 7)
    watching = watch()
    assert seen(watching.line()) == me(3000, 7)
    injector.thread_created(3000, 8)
    assert seen(watching.line()) == me(3000, 8)


def test_it_ends_after_its_duration_with_what_was_there(injector, watch):
    for tid in range(100):
        injector.thread_created(3000, tid)
    began = time.monotonic()
    status, lines, errors = watch("--duration", "0.5", "--exit-code").end()
    assert [seen(line) for line in lines] == [me(3000, tid) for tid in range(100)]
    assert errors == ["etwdetect: KDetector: 100 remote threads, 0 more were lost"]
    assert status == 10
    assert time.monotonic() - began >= 0.5


def test_repeats_are_folded_and_shown_when_their_time_is_over_though_nothing_follows(injector, watch):
    for _ in range(3):
        injector.thread_created(3000, 7)
    watching = watch("--fold", "0.5")
    assert re.search(r"TID: 7  .*3 times until \d\d:\d\d:\d\d\.\d{3}$", watching.line())


def test_what_is_shown_goes_to_sinks_at_once(injector, watch):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as log:
        log.bind(("127.0.0.1", 0))
        log.settimeout(PATIENCE)
        watching = watch("--to", f"syslog+udp://127.0.0.1:{log.getsockname()[1]}", "--to", "eventlog:")
        for tid in (7, 8):
            injector.thread_created(3000, tid)
            assert f'NewThreadId="{tid}"'.encode() in log.recv(65_535)
            assert seen(watching.line()) == me(3000, tid)


def test_formats_and_filters_are_those_of_scan(injector, watch):
    for pid in (3000, 3001):
        injector.thread_created(pid, 7)
    status, lines, errors = watch("--duration", "0.2", "--format", "json", "--target-pid", "3001").end()
    (record,) = map(json.loads, lines)
    assert record["Detector"] == "driver"
    assert (record["SourceProcessId"], record["TargetProcessId"]) == (os.getpid(), 3001)
    assert (status, errors) == (
        0,
        ["etwdetect: KDetector: 2 remote threads (1 filtered out), 0 more were lost"],
    )


def test_it_drains_faster_than_twenty_a_second(injector, watch):
    for tid in range(5_000):
        injector.thread_created(3000, tid)
    status, lines, _ = watch("--duration", "0.1").end()
    assert (status, len(lines)) == (0, 5_000)


def test_it_says_what_the_driver_lost(install, watch):
    install(queue_bound=3)
    service.start()
    with contextlib.closing(Injector()) as injector:
        for tid in range(5):
            injector.thread_created(3000, tid)
    status, lines, errors = watch("--duration", "0.2", "--exit-code").end()
    assert [seen(line)[3] for line in lines] == [2, 3, 4]
    assert errors == [
        "etwdetect: KDetector lost records: 2 (its queue was full, or there was no memory)",
        "etwdetect: KDetector: 3 remote threads, 2 more were lost",
    ]
    assert status == 11


def test_it_says_that_the_table_was_full(install, watch):
    install(table_bound=1)
    service.start()
    with contextlib.closing(Injector()) as injector:
        injector.process_created(3000)
        injector.process_created(3001)
    status, _, errors = watch("--duration", "0.2").end()
    assert errors[0] == (
        "etwdetect: KDetector evicted processes from its full table: 1 (their first threads look remote)"
    )
    assert status == 0


def test_it_lets_the_driver_stop_and_takes_up_again_when_it_is_back(install, watch):
    install()
    service.start()
    watching = watch()
    for cycle in range(5):
        with contextlib.closing(Injector()) as injector:
            injector.thread_created(3000, cycle)
        assert seen(watching.line()) == me(3000, cycle)
        service.stop()
        assert watching.error() == "etwdetect: KDetector stops; waiting for it to start again"
        service.start()
        assert watching.error() == "etwdetect: KDetector is back"


def wait_until_open():
    """Wait until another program has the unruly driver's device open, which counts handles as its table's size."""
    deadline = time.monotonic() + PATIENCE
    with Device(reading=False) as device:
        while device.statistics().table_size < 2:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_it_closes_its_handle_while_the_driver_waits_to_be_unloaded(install, watch):
    # The unruly driver unloads, as every driver does in Windows, once the last handle is closed.
    install("unruly.sys")
    order("WaitForHandles", 1)
    service.start()
    watching = watch()
    wait_until_open()
    service.stop(timeout=PATIENCE)
    assert watching.error() == "etwdetect: KDetector stops; waiting for it to start again"


def test_it_waits_for_a_driver_that_is_installed_anew(install, watch):
    install()
    service.start()
    watching = watch()
    with contextlib.closing(Injector()) as injector:
        injector.thread_created(3000, 7)
    assert seen(watching.line()) == me(3000, 7)
    remove()
    assert watching.error() == "etwdetect: KDetector stops; waiting for it to start again"
    install()
    service.start()
    assert watching.error() == "etwdetect: KDetector is back"


def test_its_duration_ends_it_while_it_waits(injector, monkeypatch):
    now, notices = [0.0], []

    def notify(notice):
        notices.append(notice)
        now[0] = 5.0

    # A clock of its own: by the machine's, a duration could be over before the driver has stopped.
    clock = SimpleNamespace(monotonic=lambda: now[0], sleep=time.sleep)
    monkeypatch.setattr("etwdetect.kdetector.watch.time", clock)
    records = iter(Watcher(lambda: False, notify, duration=5))
    injector.thread_created(3000, 7)
    assert next(records)[1:5] == me(3000, 7)
    injector.close()
    service.stop()
    assert [record for record in records if record is not None] == []
    assert notices == ["KDetector stops; waiting for it to start again"]


def test_it_ends_quietly_when_nobody_reads_on(injector):
    injector.thread_created(3000, 0)
    with subprocess.Popen(
        (sys.executable, "-m", "etwdetect", "driver", "watch"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as watching:
        assert seen(watching.stdout.readline().rstrip()) == me(3000, 0)
        watching.stdout.close()
        for tid in range(1, 100):
            injector.thread_created(3000, tid)
        status = watching.wait(PATIENCE)
        (error,) = watching.stderr.read().splitlines()
    assert status == 0
    assert error.startswith("etwdetect: KDetector: ")
    with Device(reading=True) as device:
        assert device.read() == []
