"""What real receivers with their default settings make of what is sent to them."""

import contextlib
import json
import shutil
import signal
import socket
import subprocess
import threading
from dataclasses import replace

import pytest

from etwdetect.results.record import to_dict
from etwdetect.results.sinks.opening import open_sink
from tests.results.conftest import FULL
from tests.results.sinks.conftest import HOST, wait_for

CONFIGURATION = """
global(workDirectory="{folder}")
module(load="imtcp")
module(load="imudp")
module(load="mmpstrucdata")
input(type="imtcp" port="{port}" address="127.0.0.1")
input(type="imudp" port="{port}" address="127.0.0.1")
template(name="received" type="list") {{
  property(name="jsonmesg")
  constant(value="\\n")
}}
action(type="mmpstrucdata")
action(type="omfile" file="{folder}/received" template="received")
"""


class Rsyslog:
    """A rsyslogd that takes messages over TCP and UDP at one port, and appends what it makes of them to a file."""

    def __init__(self, folder, port):
        self.port = port
        self._folder = folder
        self._process = None
        (folder / "rsyslog.conf").write_text(CONFIGURATION.format(folder=folder, port=port))

    def start(self):
        self._process = subprocess.Popen(
            ["rsyslogd", "-n", "-f", str(self._folder / "rsyslog.conf"), "-i", str(self._folder / "pid")],
            stderr=subprocess.DEVNULL,
        )
        wait_for(self._listens)

    def _listens(self):
        assert self._process.poll() is None
        with contextlib.suppress(OSError), open_socket(self.port):
            return True
        return False

    def kill(self, number=signal.SIGKILL):
        self._process.send_signal(number)
        self._process.wait()

    def send_signal(self, number):
        self._process.send_signal(number)

    def received(self):
        """The messages so far: their fields, and those of the structured data as `etwdetect`."""
        file = self._folder / "received"
        *whole, _ = file.read_bytes().split(b"\n") if file.exists() else [b""]  # the last is being written
        messages = [json.loads(line) for line in whole]
        return [message | {"etwdetect": message["$!"]["rfc5424-sd"]["etwdetect@32473"]} for message in messages]


def open_socket(port):
    return socket.create_connection((HOST, port), timeout=5)


@pytest.fixture
def rsyslog(tmp_path, free_port):
    if shutil.which("rsyslogd") is None:
        pytest.skip("rsyslog is not installed")
    server = Rsyslog(tmp_path, free_port)
    server.start()
    yield server
    server.kill()


def numbered(number, **changes):
    return replace(FULL, thread=FULL.thread._replace(tid=number), **changes)


def ids(messages):
    return [int(message["etwdetect"]["newthreadid"]) for message in messages]


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_rsyslog_takes_a_forged_header_at_any_place_for_no_message(rsyslog, protocol):
    lengths = range(7_000, 9_000, 1 if protocol == "tcp" else 40)
    sink = open_sink(f"syslog+{protocol}://{HOST}:{rsyslog.port}", print)
    for number, length in enumerate(lengths):
        forged = "x" * length + "<13>1 2026-01-01T00:00:00Z victim app - - - forged " * 20
        sink.put(numbered(number, source=replace(FULL.source, command_line=forged)))
        if protocol == "udp":
            wait_for(lambda: not sink.left)  # its buffer is small
    sink.close()
    assert sink.complete
    wait_for(lambda: len(rsyslog.received()) >= len(lengths))
    messages = rsyslog.received()
    assert ids(messages) == list(range(len(lengths)))
    assert {message["hostname"] for message in messages} == {FULL.host}
    assert {message["etwdetect"]["sigma"] for message in messages} == {"; ".join(FULL.sigma)}
    assert {message["etwdetect"]["cut"] for message in messages} == {"SourceCommandLine"}


@pytest.mark.parametrize("length", [0, 1, 255, 7_000, 8_192, 32_767])
def test_rsyslog_gets_a_command_line_of_any_length(rsyslog, length):
    sink = open_sink(f"syslog+tcp://{HOST}:{rsyslog.port}", print)
    sink.put(numbered(1, source=replace(FULL.source, command_line="\u20ac" * length)))
    sink.close()
    wait_for(rsyslog.received)
    (message,) = rsyslog.received()
    got = message["etwdetect"].get("sourcecommandline", "")
    assert got.removesuffix("…") == "\u20ac" * len(got.removesuffix("…"))
    assert (len(got) == length) or message["etwdetect"]["cut"] == "SourceCommandLine"
    assert message["etwdetect"]["newthreadid"] == str(to_dict(numbered(1))["NewThreadId"])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_is_lost_when_rsyslog_ends_and_comes_back(rsyslog, number):
    told = []
    sink = open_sink(f"syslog+tcp://{HOST}:{rsyslog.port}", told.append)
    count = 4_000

    def send():
        for each in range(count):
            sink.put(numbered(each, source=replace(FULL.source, command_line="x" * (each % 9_000))))

    sender = threading.Thread(target=send)
    sender.start()
    wait_for(lambda: len(rsyslog.received()) > 100)
    rsyslog.kill(number)
    rsyslog.start()
    sender.join()
    sink.close()
    assert sink.complete, (sink.closing(), told)
    wait_for(lambda: len(set(ids(rsyslog.received()))) == count)
    assert sink.closing().startswith(f"syslog+tcp://{HOST}:{rsyslog.port}: {count:,} of {count:,} sent")


def test_nothing_is_lost_when_rsyslog_stands_still(rsyslog):
    told = []
    sink = open_sink(f"syslog+tcp://{HOST}:{rsyslog.port}", told.append)
    rsyslog.send_signal(signal.SIGSTOP)
    sender = threading.Thread(
        target=lambda: [
            sink.put(numbered(each, source=replace(FULL.source, command_line="x" * 7_000)))
            for each in range(4_000)
        ]
    )
    sender.start()
    sender.join(2)
    rsyslog.send_signal(signal.SIGCONT)
    sender.join()
    sink.close()
    assert (told, sink.complete) == ([], True)
    wait_for(lambda: ids(rsyslog.received()) == list(range(4_000)))
