"""How syslog messages travel: UDP (RFC 5426), TCP with octet counting (RFC 6587), or TLS (RFC 5425)."""

from __future__ import annotations

import errno
import socket
import ssl
import time
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from etwdetect.results.sinks.errors import RefusedError
from etwdetect.results.sinks.queue import Transport
from etwdetect.results.sinks.syslog import LEAST_LIMIT, LIMIT, status_message, syslog_message

if TYPE_CHECKING:
    from collections.abc import Sequence

    from etwdetect.enrich.detection import Detection
    from etwdetect.results.status import StatusRecord

_PORTS: Final = {"udp": 514, "tcp": 601, "tls": 6514}
_SECONDS: Final = 5.0
"""How long connecting, and sending a datagram, may take."""

_STALL_SECONDS: Final = 60.0
"""How long a receiver on a connection may read nothing. Giving up earlier would tear a message in two."""

_ERROR_SECONDS: Final = 0.5
"""How long to wait for a datagram's ICMP error, after a first one."""

AGAIN_SECONDS: Final = 30.0
AGAIN_BYTES: Final = 8 << 20
"""What is sent again after a connection has ended: messages as young as this, and the last ones of this size."""
_MOST_AGAIN_BYTES: Final = 64 << 20
"""How many bytes of messages are kept for that, whatever their age."""

_CHUNK: Final = 256
"""How many messages are written in one call when they are sent again."""


def syslog_transport(
    protocol: str, host: str, port: int | None, limit: int = LIMIT
) -> DatagramTransport | StreamTransport:
    """Return the transport to the server at *host* over "udp", "tcp" or "tls".

    Messages have at most *limit* bytes. ValueError for another protocol, or a limit below LEAST_LIMIT.
    """
    if protocol not in _PORTS:
        raise ValueError(f"the syslog protocol must be one of {', '.join(_PORTS)}")
    if limit < LEAST_LIMIT:
        raise ValueError(f"the limit of a message must be at least {LEAST_LIMIT} bytes")
    port = _PORTS[protocol] if port is None else port
    name = f"syslog+{protocol}://{f'[{host}]' if ':' in host else host}:{port}"
    if protocol == "udp":
        return DatagramTransport(name, host, port, limit)
    return StreamTransport(name, host, port, limit, secure=protocol == "tls")


class _SyslogTransport(Transport):
    """What both have: messages of at most *limit* bytes to the server at *host* and *port*, through one socket."""

    def __init__(self, name: str, host: str, port: int, limit: int = LIMIT) -> None:
        self.name = name
        self._address = host, port
        self._limit = limit
        self._socket: socket.socket | None = None

    def message(self, detection: Detection) -> bytes:
        """Return the message, with its values cut where it is long."""
        return syslog_message(detection, self._limit)

    def status(self, record: StatusRecord) -> bytes:
        """Return the message."""
        return status_message(record, self._limit)

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class DatagramTransport(_SyslogTransport):
    """Sends each message as a datagram. UDP does not confirm delivery, but an ICMP error may come back later.

    After one, `send` waits a moment for the next one: else every second message would look delivered.
    """

    batch = 1

    def __init__(self, name: str, host: str, port: int, limit: int = LIMIT) -> None:
        super().__init__(name, host, port, limit)
        self._failed = False

    def send(self, messages: Sequence[bytes]) -> None:
        """Send the datagrams."""
        if self._socket is None:
            family, kind, *_, address = socket.getaddrinfo(*self._address, type=socket.SOCK_DGRAM)[0]
            self._socket = socket.socket(family, kind)
            self._socket.settimeout(_SECONDS)
            self._socket.connect(address)  # so that ICMP errors are raised
        for message in messages:
            try:
                self._socket.send(message)
                if self._failed:
                    self._await_error(self._socket)
            except ConnectionError:  # it may be about an earlier datagram
                self._failed = True
                raise
            except OSError as error:
                if error.errno == errno.EMSGSIZE:
                    raise RefusedError(
                        f"a message of {len(message):,} bytes is too long for a datagram"
                    ) from error
                raise
            self._failed = False

    @staticmethod
    def _await_error(connected: socket.socket) -> None:
        connected.settimeout(_ERROR_SECONDS)
        try:
            connected.recv(1)
        except TimeoutError:
            pass
        finally:
            connected.settimeout(_SECONDS)


class _Frame(NamedTuple):
    """One message as it was written to a connection, and when, on the monotonic clock."""

    data: bytes
    written: float


class StreamTransport(_SyslogTransport):
    """Sends messages over one connection, each after its length in bytes.

    Nothing tells what the receiver's program has read. So what was written in the last AGAIN_SECONDS, or the last
    AGAIN_BYTES if that is more, is sent again after the connection has ended; what was written to it before that
    is counted in `doubtful` if the receiver reset the connection instead of closing it.
    """

    batch = 100

    def __init__(self, name: str, host: str, port: int, limit: int = LIMIT, *, secure: bool) -> None:
        super().__init__(name, host, port, limit)
        self._context = ssl.create_default_context() if secure else None
        self._recent: deque[_Frame] = deque()
        self._recent_bytes = 0
        self._beyond = 0
        """How many messages of this connection are no longer among the recent ones."""
        self._possibly_lost = 0
        self._ended = False
        """Whether the recent messages still have to be sent again."""

    @property
    def doubtful(self) -> int:
        """How many messages that were written may not have been read."""
        return self._possibly_lost + (len(self._recent) if self._ended else 0)

    @property
    def uncertain(self) -> int:
        """How many of the messages sent last would be sent again if the connection ended."""
        return len(self._recent)

    def send(self, messages: Sequence[bytes]) -> None:
        """Write the frames, behind those of an earlier connection that must be sent again."""
        connection = self._connected()
        frames = [b"%d %b" % (len(message), message) for message in messages]
        self._write(connection, b"".join(frames))
        for frame in frames:
            self._keep(frame)

    def finish(self) -> None:
        """Say that nothing follows, and wait until the receiver closes its side: then it has read everything.

        What was sent to a receiver that keeps its side open for _SECONDS stays uncertain.
        """
        if not self._recent:
            return
        connection = self._connected()
        connection.settimeout(_SECONDS)
        try:
            if isinstance(connection, ssl.SSLSocket):
                connection.unwrap()
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(4096):
                pass
        except TimeoutError:
            return
        except ssl.SSLError:
            pass  # closed without TLS's farewell
        except OSError:
            self._note_reset()
            raise
        self._recent.clear()
        self._recent_bytes = 0

    def _connected(self) -> socket.socket:
        """Return the connection; a new one first gets the recent messages again."""
        if self._socket is not None and self._is_closed(self._socket):
            self._ended = True
            self.close()
        if self._socket is None:
            self._socket = self._connect()
            recent = list(self._recent)
            for start in range(0, len(recent), _CHUNK):
                chunk = recent[start : start + _CHUNK]
                self._write(self._socket, b"".join(frame.data for frame in chunk))
                self.sent_again += len(chunk)
            now = time.monotonic()
            self._recent = deque(_Frame(frame.data, now) for frame in recent)
            self._ended = False
            self._beyond = 0
        return self._socket

    def _connect(self) -> socket.socket:
        plain = socket.create_connection(self._address, timeout=_SECONDS)
        try:
            connection = plain
            if self._context is not None:
                connection = self._context.wrap_socket(plain, server_hostname=self._address[0])
            connection.settimeout(_STALL_SECONDS)
        except BaseException:
            plain.close()
            raise
        return connection

    def _write(self, connection: socket.socket, data: bytes) -> None:
        try:
            connection.sendall(data)
        except OSError:
            self._note_reset()
            raise

    def _note_reset(self) -> None:
        self._ended = True
        self._possibly_lost += self._beyond
        self._beyond = 0

    def _keep(self, data: bytes) -> None:
        now = time.monotonic()
        self._recent.append(_Frame(data, now))
        self._recent_bytes += len(data)
        while self._recent_bytes > _MOST_AGAIN_BYTES or (
            self._recent_bytes - len(self._recent[0].data) >= AGAIN_BYTES
            and now - self._recent[0].written > AGAIN_SECONDS
        ):
            self._recent_bytes -= len(self._recent.popleft().data)
            self._beyond += 1

    def _is_closed(self, connection: socket.socket) -> bool:
        """Return whether the server has closed its side, which the next send would not notice."""
        connection.settimeout(0)
        try:
            return not connection.recv(4096)
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except OSError:
            self._note_reset()
            return True
        finally:
            connection.settimeout(_STALL_SECONDS)
