"""Syslog: RFC 5424 messages over UDP (RFC 5426), TCP with octet counting (RFC 6587), or TLS (RFC 5425)."""

from __future__ import annotations

import errno
import socket
import ssl
from typing import TYPE_CHECKING, Any, Final

from etwdetect.core import filetime
from etwdetect.results.fields import FIELDS
from etwdetect.results.formats.schema_fields import sentence
from etwdetect.results.record import to_dict
from etwdetect.results.sinks.errors import RefusedError
from etwdetect.results.wording import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from etwdetect.enrich.detection import Detection

_PORTS: Final = {"udp": 514, "tcp": 601, "tls": 6514}
_SECONDS: Final = 5.0
"""How long connecting, and each send, may take."""

_ERROR_SECONDS: Final = 0.5
"""How long to wait for a datagram's ICMP error, after a first one."""

_FACILITY: Final = 13  # log audit
_SEVERITIES: Final = {"high": 3, "medium": 4, "low": 5, "informational": 6}
_NOTICE: Final = 5

_ELEMENT: Final = "etwdetect@32473"
"""The id of our structured data. 32473 is the enterprise number that RFC 5612 reserves for documentation."""

_LEFT_OUT: Final = frozenset(field.name for field in FIELDS if "syslog" in field.left_out_by)

_MAX_VALUES: Final = 20
"""How many of Evidence and of Sigma are sent; only edited files have more."""

_LONG: Final = 8_192
"""From how many bytes on a message that is to be a datagram has its values cut."""
_CUT: Final = 256
"""To how many characters: all values of that length, in UTF-8, still fit into a datagram."""


def syslog_message(detection: Detection, most: int | None = None) -> bytes:
    """Return *detection* as a message in UTF-8; values of more than *most* characters are cut and end in "…".

    The structured data has the fields of our record under their names, Evidence and Sigma once for each value;
    KindReason and Absent are left out.
    """
    known = to_dict(detection)
    severity = _SEVERITIES.get(detection.severity or "", _NOTICE)
    time = filetime.iso_time(detection.thread.time) or "-"
    host = "".join(char if "!" <= char <= "~" else "?" for char in detection.host or "-")[:255]
    data = "".join(f' {name}="{_value(value, most)}"' for name, value in _parameters(known))
    text = printable(sentence(detection))
    if most is not None:
        text = _cut(text, 2 * most)
    mark = "" if text.isascii() else "\ufeff"  # says that UTF-8 follows
    head = f"<{_FACILITY * 8 + severity}>1 {time} {host} etwdetect - CreateRemoteThread"
    return f"{head} [{_ELEMENT}{data}] {mark}{text}".encode()


def _parameters(known: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in known.items():
        if isinstance(value, list):
            yield from ((name, each) for each in value[:_MAX_VALUES])
        elif name not in _LEFT_OUT:
            yield name, value


def _value(value: str | int, most: int | None) -> str:
    text = printable(str(value))
    if most is not None:
        text = _cut(text, most)
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("]", "\\]")


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def syslog_transport(protocol: str, host: str, port: int | None) -> DatagramTransport | StreamTransport:
    """Return the transport to the server at *host* over "udp", "tcp" or "tls"; ValueError for another protocol."""
    if protocol not in _PORTS:
        raise ValueError(f"the syslog protocol must be one of {', '.join(_PORTS)}")
    port = _PORTS[protocol] if port is None else port
    name = f"syslog+{protocol}://{f'[{host}]' if ':' in host else host}:{port}"
    if protocol == "udp":
        return DatagramTransport(name, host, port)
    return StreamTransport(name, host, port, secure=protocol == "tls")


class DatagramTransport:
    """Sends each message as a datagram. UDP does not confirm delivery, but an ICMP error may come back later.

    After one, `send` waits a moment for the next one: else every second message would look delivered.
    """

    batch = 1

    def __init__(self, name: str, host: str, port: int) -> None:
        self.name = name
        self._address = host, port
        self._socket: socket.socket | None = None
        self._failed = False

    def message(self, detection: Detection) -> bytes:
        """Return the message, with its values cut where it is long."""
        whole = syslog_message(detection)
        return whole if len(whole) < _LONG else syslog_message(detection, _CUT)

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

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class StreamTransport:
    """Sends messages over one connection, each after its length in bytes.

    When a server goes away, the last messages may be lost unnoticed; when the connection breaks while a message is
    sent, it can arrive twice.
    """

    batch = 100

    def __init__(self, name: str, host: str, port: int, *, secure: bool) -> None:
        self.name = name
        self._address = host, port
        self._context = ssl.create_default_context() if secure else None
        self._socket: socket.socket | None = None

    def message(self, detection: Detection) -> bytes:
        """Return the message, whole."""
        return syslog_message(detection)

    def send(self, messages: Sequence[bytes]) -> None:
        """Send the frames."""
        if self._socket is None:
            self._socket = self._connect()
        else:
            self._check(self._socket)
        self._socket.sendall(b"".join(b"%d %b" % (len(message), message) for message in messages))

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connect(self) -> socket.socket:
        plain = socket.create_connection(self._address, timeout=_SECONDS)
        if self._context is None:
            return plain
        try:
            return self._context.wrap_socket(plain, server_hostname=self._address[0])
        except BaseException:
            plain.close()
            raise

    @staticmethod
    def _check(connection: socket.socket) -> None:
        """Raise OSError where the server has closed its side, which the next send would not notice."""
        connection.settimeout(0)
        try:
            if not connection.recv(4096):
                raise ConnectionResetError("the server closed the connection")
        except (BlockingIOError, ssl.SSLWantReadError):
            pass
        finally:
            connection.settimeout(_SECONDS)
