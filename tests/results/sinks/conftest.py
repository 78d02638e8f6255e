"""Servers on loopback for the sinks to talk to."""

import contextlib
import http.server
import queue
import socket
import ssl
import sys
import threading
import time

import pytest

from etwdetect.results.sinks.opening import open_sink
from tests.results.conftest import detection  # noqa: F401 (a fixture)

HOST = "127.0.0.1"

# Receivers that Debian has.
collect_ignore = ["receivers.py", "test_receivers.py", "test_nginx.py"] if sys.platform == "win32" else []


def wait_for(condition, seconds=30):
    """Wait until *condition* holds; it must, some time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.01)


@pytest.fixture
def told():
    """What sinks told their user."""
    return []


@pytest.fixture
def short_farewell(monkeypatch):
    """For what ends with a dead server: no need to wait for it as long as a user may want to."""
    monkeypatch.setattr("etwdetect.results.sinks.queue.LIVE_WAIT", 0.5)


@pytest.fixture
def sink(told, stream_server):  # noqa: ARG001 (so that servers end later: in Wine, only a client ends a connection)
    """Open sinks that end with the test."""
    with contextlib.ExitStack() as stack:

        def make(url, *, wait=None):
            opened = open_sink(url, told.append, wait=wait)
            stack.callback(opened.close)
            return opened

        yield make


@pytest.fixture
def free_port():
    """A port at which nobody listens."""
    with socket.create_server((HOST, 0)) as server:
        return server.getsockname()[1]


@pytest.fixture
def datagrams():
    """A UDP socket that waits for datagrams."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((HOST, 0))
        server.settimeout(30)
        yield server


class StreamServer:
    """Takes octet-counted frames from any number of connections, one after the other, into `frames`."""

    def __init__(self, port=0, context=None):
        self.frames = queue.Queue()
        self.connections = 0
        self._context = context
        self._server = socket.create_server((HOST, port))
        self.port = self._server.getsockname()[1]
        self._current = None
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self):
        while True:
            try:
                plain, _ = self._server.accept()
            except OSError:
                return
            self.connections += 1
            with contextlib.suppress(OSError), plain:
                self._current = plain
                with self._context.wrap_socket(plain, server_side=True) if self._context else plain as connection:
                    self._current = connection
                    self._read(connection.makefile("rb"))

    def _read(self, file):
        with file:
            while length := b"".join(iter(lambda: file.read(1).strip(), b"")):
                self.frames.put(file.read(int(length)))

    def hang_up(self):
        """Close the connection there is, and keep listening."""
        self._current.shutdown(socket.SHUT_RDWR)

    def close(self):
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        if self._current:
            with contextlib.suppress(OSError):
                self._current.shutdown(socket.SHUT_RDWR)
        self._thread.join()


@pytest.fixture
def stream_server():
    """Start servers that end with the test."""
    with contextlib.ExitStack() as stack:

        def start(*arguments, **options):
            server = StreamServer(*arguments, **options)
            stack.callback(server.close)
            return server

        yield start


@pytest.fixture(scope="session")
def authority():
    # Wine 8 lacks a DLL that one of its dependencies needs.
    return pytest.importorskip("trustme", exc_type=ImportError).CA()


@pytest.fixture
def tls_context(authority):
    """What a server needs whose certificate is for loopback."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST).configure_cert(context)
    return context


@pytest.fixture
def trusted(authority, tmp_path, monkeypatch):
    """Have the test's authority trusted, as a user does who has one."""
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))


@pytest.fixture
def certificate(authority, tmp_path):
    """A file with a certificate for loopback, and its key."""
    path = tmp_path / "certificate.pem"
    authority.issue_cert(HOST).private_key_and_cert_chain_pem.write_to_path(path)
    return path


class HttpServer(http.server.ThreadingHTTPServer):
    """Keeps every request in `requests`, as (path, headers, body), and answers each as `answers` says, or 200."""

    def __init__(self, port=0, context=None):
        super().__init__((HOST, port), _Handler)
        self.requests = []
        self.answers = []
        self.ports = set()
        self.times = []
        self.retry_after = None
        self.most_bytes = float("inf")
        self.port = self.server_address[1]
        if context:
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self):
        self.shutdown()
        self._thread.join()
        self.server_close()

    def handle_error(self, request, client_address):  # what a test breaks is no news
        pass


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.ports.add(self.client_address[1])
        self.server.times.append(time.monotonic())
        answer = self.server.answers.pop(0) if self.server.answers else 200
        if len(body) > self.server.most_bytes:
            answer = 413
        if answer == "hang up":
            self.close_connection = True
            return
        if answer == "nonsense":
            self.wfile.write(b"I am no web server\r\n")
            self.close_connection = True
            return
        if answer != 413:
            self.server.requests.append((self.path, self.headers, body))
        self.send_response(answer)
        if answer != 200 and self.server.retry_after:
            self.send_header("Retry-After", self.server.retry_after)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_):
        pass


@pytest.fixture
def http_server():
    with contextlib.ExitStack() as stack:

        def start(*arguments, **options):
            server = HttpServer(*arguments, **options)
            stack.callback(server.close)
            return server

        yield start
