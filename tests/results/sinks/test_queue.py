"""What sinks do when the other side is slow or away: they never stall, and count."""

import os
import socket
import threading
import time

import pytest

from etwdetect.core.errors import UnsupportedSystemError
from etwdetect.results.sinks import backlog
from etwdetect.results.sinks.backlog import Queue
from etwdetect.results.sinks.errors import SinkError
from etwdetect.results.sinks.opening import open_sink
from etwdetect.results.sinks.queue import Sink
from etwdetect.results.sinks.syslog import LIMIT
from etwdetect.results.sinks.syslog_transport import syslog_transport
from tests.results.conftest import FULL
from tests.results.sinks.conftest import HOST, wait_for


def limited_sink(transport, told, bound, *, wait):
    return Sink(transport, told.append, wait=wait, backlog=Queue(transport.message, bound))


@pytest.mark.usefixtures("short_farewell")
def test_what_a_dead_server_leaves_no_room_for_is_dropped_and_counted(free_port, told, detection):
    sink = limited_sink(syslog_transport("tcp", HOST, free_port), told, 10, wait=None)
    for number in range(500):
        sink.put(detection(tid=number))
    sink.close()
    assert sink.sent == sink.refused == 0
    assert sink.dropped + sink.left == 500
    assert 10 <= sink.left <= 10 + 100  # the queue, and the batch in the sink's hands
    assert len(told) == 1
    assert sink.closing().endswith(
        f"0 of 500 sent; {sink.dropped} found the queue full; {sink.left} not sent by the end"
    )


@pytest.mark.usefixtures("short_farewell")
def test_a_server_that_does_not_read_stalls_nobody(told, detection, monkeypatch):
    # Whoever waited for it, for a recording or in the sink's own thread, would wait for hours.
    monkeypatch.setattr("etwdetect.results.sinks.syslog_transport._STALL_SECONDS", 10_000.0)
    with socket.create_server((HOST, 0)) as server:
        sink = limited_sink(syslog_transport("tcp", HOST, server.getsockname()[1]), told, 100, wait=None)
        for _ in range(2000):
            sink.put(detection("x" * 30_000))
        sink.close()
        assert told == []
        assert sink.dropped > 0
        assert sink.sent + sink.dropped + sink.left == sink.given == 2000


@pytest.mark.usefixtures("short_farewell")
def test_the_queue_is_bounded_in_bytes_too(free_port, told, detection, monkeypatch):
    monkeypatch.setattr(backlog, "BYTES_BOUND", 100_000)
    sink = Sink(syslog_transport("tcp", HOST, free_port), told.append, wait=None)
    wait_for(lambda: told or sink.put(detection()))  # until the server is known to be away
    before = sink.dropped
    for _ in range(100):
        sink.put(detection("x" * 10_000))
    sink.close()
    assert sink.dropped - before >= 100 - 100_000 // LIMIT


def test_a_recording_waits_for_a_slow_server_and_loses_nothing(told, detection):
    received = []
    with socket.create_server((HOST, 0)) as server:

        def slow():
            connection, _ = server.accept()
            with connection:
                while data := connection.recv(2000):
                    received.append(data)

        reader = threading.Thread(target=slow)
        reader.start()
        sink = limited_sink(syslog_transport("tcp", HOST, server.getsockname()[1]), told, 5, wait=30)
        for number in range(1000):
            sink.put(detection(tid=number))
        sink.close()
        reader.join()
    assert sink.complete
    assert b"".join(received).count(b"<109>1 ") == 1000


def test_a_recording_waits_once_for_a_server_that_stays_away(told, free_port, detection):
    sink = limited_sink(syslog_transport("tcp", HOST, free_port), told, 10, wait=0.5)
    before = time.monotonic()
    for number in range(500):
        sink.put(detection(tid=number))
    sink.close()
    assert 0.5 <= time.monotonic() - before < 20  # not 500 times half a second
    assert sink.dropped + sink.left == 500
    assert 10 <= sink.left <= 10 + 100


def test_a_recording_waits_for_a_server_that_comes_back(told, free_port, stream_server, detection):
    sink = limited_sink(syslog_transport("tcp", HOST, free_port), told, 10, wait=60)
    feeder = threading.Thread(target=lambda: [sink.put(detection(tid=number)) for number in range(500)])
    feeder.start()
    wait_for(lambda: told)
    server = stream_server(free_port)
    feeder.join()
    sink.close()
    assert sink.closing() == f"syslog+tcp://{HOST}:{free_port}: 500 of 500 sent"
    assert server.frames.qsize() == 500


def test_at_the_end_what_waits_is_sent(stream_server, told, detection):
    server = stream_server()
    sink = Sink(syslog_transport("tcp", HOST, server.port), told.append, wait=None)
    for number in range(1000):
        sink.put(detection(tid=number))
    sink.close()
    assert sink.complete
    assert sink.closing() == f"syslog+tcp://{HOST}:{server.port}: 1,000 of 1,000 sent"
    wait_for(lambda: server.frames.qsize() == 1000)


def test_closing_again_is_allowed(stream_server, told):
    server = stream_server()
    sink = Sink(syslog_transport("tcp", HOST, server.port), told.append, wait=None)
    sink.put(FULL)
    sink.close()
    sink.close()
    assert sink.complete


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "is not a sink"),
        ("foo", "is not a sink"),
        ("ftp://a", "is not a sink"),
        ("http://", "has no host"),
        ("syslog+udp://", "has no host"),
        ("syslog+sctp://a", "must be one of udp, tcp, tls"),
        ("syslog+tcp://a/path", "ends after the host and the port"),
        ("http://a:99999/", "Port out of range"),
        ("http://a:b/", "Port could not be cast"),
        ("http://[::1", "Invalid IPv6 URL"),
        (f"http://{'a' * 70}.com/", "label"),
        ("http://\x1b[2J/", "http"),
        ("http://a b/", "a host can.t have"),
        ("syslog+udp://a\u200bb", "a host can.t have"),
    ],
)
def test_what_is_no_sink_is_said_in_one_sentence(url, why):
    with pytest.raises(SinkError, match=why) as caught:
        open_sink(url, print)
    assert str(caught.value).isprintable()


def test_a_password_in_an_address_is_refused_and_not_repeated():
    with pytest.raises(SinkError, match="must not be in a command line") as caught:
        open_sink("https://me:secret@host/", print)
    assert "secret" not in str(caught.value)


@pytest.mark.skipif(os.name == "nt", reason="this is Windows")
def test_the_windows_event_log_is_on_windows_only():
    with pytest.raises(UnsupportedSystemError, match="on Windows only"):
        open_sink("eventlog:", print)
