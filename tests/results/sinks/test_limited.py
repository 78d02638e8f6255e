"""Servers that keep a request waiting, in whatever way: it ends after its time in all."""

import contextlib
import itertools
import socket
import threading
import time

import pytest

from etwdetect.results.sinks import http
from etwdetect.results.sinks.http import HttpTransport
from tests.results.sinks.conftest import HOST

SLOWEST = 20.0
"""How many seconds a slow machine may take for what takes half a second."""

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n"


@pytest.fixture
def server():
    """Start a server that sends the given pieces, one every 20 ms, to each connection."""
    with contextlib.ExitStack() as stack:

        def start(pieces):
            listening = stack.enter_context(socket.create_server((HOST, 0)))
            ending = threading.Event()

            def answer():
                while not ending.is_set():
                    connection, _ = listening.accept()
                    with contextlib.suppress(OSError), connection:
                        for piece in pieces():
                            connection.sendall(piece)
                            if ending.wait(0.02):
                                return

            thread = threading.Thread(target=answer)
            thread.start()
            address = listening.getsockname()
            stack.callback(thread.join)
            # One more connection ends the wait for one; on Windows nothing else does.
            stack.callback(lambda: socket.create_connection(address).close())
            stack.callback(ending.set)
            return address[1]

        yield start


@pytest.mark.parametrize(
    ("pieces", "secure", "answered"),
    [
        (lambda: itertools.repeat(CONTINUE), False, False),
        (lambda: itertools.repeat(b""), False, False),
        (lambda: itertools.repeat(b"\x16"), True, False),
        (lambda: itertools.repeat(b""), True, False),
        (lambda: itertools.chain([HEAD], itertools.repeat(b"x")), False, True),
        (lambda: itertools.chain([b"HTTP/1.1 200 OK\r\n"], itertools.repeat(b"A: b\r\n")), False, False),
    ],
    ids=["continue", "nothing", "tls", "tls nothing", "body", "headers"],
)
def test_a_server_costs_a_request_no_more_than_its_time_in_all(server, monkeypatch, pieces, secure, answered):
    monkeypatch.setattr(http, "_SECONDS", 0.5)
    transport = HttpTransport(HOST, server(pieces), "/", secure=secure)
    begun = time.monotonic()
    try:
        # What comes behind the headers is not needed: the records are taken.
        with contextlib.nullcontext() if answered else pytest.raises(OSError):  # noqa: PT011 (of many kinds)
            transport.send([b"{}\n"])
    finally:
        transport.close()
    assert time.monotonic() - begun < SLOWEST


def test_a_request_within_its_time_leaves_the_connection_alone(http_server):
    server = http_server()
    transport = HttpTransport(HOST, server.port, "/", secure=False)
    for _ in range(3):
        transport.send([b"{}\n"])
    transport.close()
    assert len(server.ports) == 1
