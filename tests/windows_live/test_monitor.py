"""etwdetect monitor on a real Windows: a real remote thread, and the line that tells of it."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time

import pytest

from tests.windows_live.injection import create_remote_thread, target
from tests.windows_live.leftovers import leftovers

SECONDS = 30


class Watching:
    """A monitor, as a process of its own that writes json; *lines* yields what it has found."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen(
            (sys.executable, "-m", "etwdetect", "monitor", "--format", "json", *arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            creationflags=subprocess.CREATE_NEW_PROCESS_GROUP,
        )
        self._lines = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self._lines.put(json.loads(line))

    def find(self, pid, seconds):
        """Return the next record of a thread in process *pid*; None where none comes in time."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            try:
                record = self._lines.get(timeout=left)
            except queue.Empty:
                break
            if record["TargetProcessId"] == pid:
                return record
        return None

    def end(self):
        """End it as Ctrl+Break does; return its exit status and what it said."""
        self.process.send_signal(signal.CTRL_BREAK_EVENT)
        try:
            self.process.wait(SECONDS)
        finally:
            self.process.kill()
        return self.process.returncode, self.process.stderr.read().decode()

    def close(self):
        """End the process, if it still runs, and close its pipes, once nobody reads them any more."""
        self.process.kill()
        self.process.wait()
        self._reader.join()
        self.process.stdout.close()
        self.process.stderr.close()


@pytest.fixture(params=[(), ("--kernel-logger",)], ids=["provider", "kernel logger"])
def watching(request):
    started = Watching(*request.param)
    yield started
    started.close()


def test_a_real_remote_thread_is_told(watching):
    with target() as process:
        # It may not watch yet when the first is created: once a second, until one is told.
        created = {}
        record = None
        deadline = time.monotonic() + SECONDS
        while record is None and time.monotonic() < deadline:
            assert watching.process.poll() is None, watching.process.stderr.read().decode()
            tid, start = create_remote_thread(process.pid)
            created[tid] = start
            record = watching.find(process.pid, seconds=2)
    status, said = watching.end()
    assert record is not None, said
    assert record["SourceProcessId"] == os.getpid()
    assert int(record["StartAddress"], 16) == created[record["NewThreadId"]]
    assert record["Detector"] == "etw"
    assert record["TargetImage"].casefold().endswith("python.exe")
    assert record["StartModule"].casefold().endswith(r"\kernel32.dll")
    assert status in {0, 3}, said  # 3 where this machine lost events meanwhile
    assert "remote thread" in said
    assert leftovers() == []


def test_a_thread_of_ones_own_is_not_told(watching):
    with target() as process:
        assert watching.find(process.pid, seconds=5) is None
    status, said = watching.end()
    assert status in {0, 3}, said
