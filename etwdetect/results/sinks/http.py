"""HTTP: records as lines of JSON, many in one POST, over a persistent connection."""

from __future__ import annotations

import http.client
import os
import ssl
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from etwdetect._version import __version__
from etwdetect.core.files import read_file
from etwdetect.results.sinks.errors import LaterError, RefusedError, TooMuchError
from etwdetect.results.sinks.limited import LimitedConnection, LimitedTlsConnection
from etwdetect.results.sinks.queue import Transport
from etwdetect.results.writers import json_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from etwdetect.enrich.detection import Detection
    from etwdetect.results.status import StatusRecord

AUTHORIZATION: Final = "ETWDETECT_HTTP_AUTHORIZATION"
"""The environment variable with the Authorization header's value: command lines must have no secrets."""
AUTHORIZATION_FILE: Final = f"{AUTHORIZATION}_FILE"
"""The one with the path of a file that has it instead."""

BODIES: Final = ("json", "ecs", "ocsf")
"""The formats that a body can have."""

_MOST_HEADER: Final = 16 << 10
"""The most bytes that are read of the file with that value."""

_SECONDS: Final = 5.0
"""How long connecting may take, and a request with its answer in all."""

_LATER: Final = frozenset((408, 425, 429))
"""The statuses below 500 after which a request is repeated."""

_TOO_LARGE: Final = 413

_MOST_DIGITS: Final = 6
"""How many digits of Retry-After count."""

_MOST_ANSWER: Final = 65_536
"""How many bytes of an answer are read; they are not used."""


class HttpTransport(Transport):
    """Posts to *path* at *host*, in the format called *body*.

    ValueError where the path, the format or the Authorization header is invalid.

    A batch can arrive twice when the connection breaks before its answer.
    """

    batch = 500

    def __init__(self, host: str, port: int | None, path: str, *, secure: bool, body: str = "json") -> None:
        self.name = f"{'https' if secure else 'http'}://{f'[{host}]' if ':' in host else host}"
        self.name += "" if port is None else f":{port}"
        if not path.isascii() or not path.isprintable() or " " in path:
            raise ValueError("has characters that a URL can't have")
        self._path = path
        if body not in BODIES:
            raise ValueError(f"the format must be one of {', '.join(BODIES)}")
        self._body = body
        self._line = json_line(body)
        if port is None:  # else http.client takes the end of an IPv6 address for it
            port = http.client.HTTPS_PORT if secure else http.client.HTTP_PORT
        self._connection: LimitedConnection
        if secure:
            context = ssl.create_default_context()
            self._connection = LimitedTlsConnection(host, port, timeout=_SECONDS, context=context)
        else:
            self._connection = LimitedConnection(host, port, timeout=_SECONDS)
        self._headers = {
            "Content-Type": "application/x-ndjson",
            "User-Agent": f"etwdetect/{__version__}",
        }
        authorization = _authorization()
        if authorization is not None:
            self._headers["Authorization"] = authorization

    def message(self, detection: Detection) -> bytes:
        """Return the line."""
        return self._line(detection).encode() + b"\n"

    def status(self, record: StatusRecord) -> bytes:
        """Return the line."""
        from etwdetect.results.formats.status import status_line  # noqa: PLC0415 (a monitor alone needs it)

        return status_line(self._body, record).encode() + b"\n"

    def send(self, messages: Sequence[bytes]) -> None:
        """Post *messages* and wait for the answer."""
        body = b"".join(messages)
        was_open = self._connection.sock is not None
        try:
            answer = self._post(body)
        except ConnectionError:
            if not was_open:
                raise
            self.close()  # servers close idle connections
            answer = self._post(body)
        status, why = answer.status, f"it answers {answer.status} {answer.reason}"
        if status in _LATER or status >= 500:
            seconds = _seconds(answer.getheader("Retry-After"))
            raise OSError(why) if seconds is None else LaterError(why, seconds)
        if status == _TOO_LARGE and len(messages) > 1:
            self.batch = len(messages) // 2
            raise TooMuchError
        if not 200 <= status < 300:
            raise RefusedError(why)

    def _post(self, body: bytes) -> http.client.HTTPResponse:
        begun = time.monotonic()
        try:
            with self._connection.limited(_SECONDS):
                self._connection.request("POST", self._path, body, self._headers)
                response = self._connection.getresponse()
            self._skip_rest(response, _SECONDS - (time.monotonic() - begun))
        except ConnectionError:  # one of them is an HTTPException too
            raise
        except http.client.HTTPException as error:
            raise OSError(f"not a valid HTTP answer: {type(error).__name__} {error}") from error
        return response

    def _skip_rest(self, response: http.client.HTTPResponse, seconds: float) -> None:
        """Read what is behind the headers, to use the connection again; where that fails it is closed."""
        try:
            with self._connection.limited(seconds):
                whole = len(response.read(_MOST_ANSWER)) < _MOST_ANSWER
        except (OSError, http.client.HTTPException):
            whole = False
        if not whole:
            self._connection.close()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _authorization() -> str | None:
    """Return the Authorization header's value, from the environment or from the file that it names."""
    value, path = os.environ.get(AUTHORIZATION), os.environ.get(AUTHORIZATION_FILE)
    name = AUTHORIZATION
    if value is None and path is not None:
        name = AUTHORIZATION_FILE
        try:
            value = read_file(Path(path), _MOST_HEADER).decode("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"the file that {name} names cannot be read: {error}") from error
    if value is not None and not (value.isascii() and value.isprintable()):
        raise ValueError(f"{name} has characters that a header can't have")
    return value


def _seconds(retry_after: str | None) -> float | None:
    """Return how many seconds a Retry-After header (RFC 9110, 10.2.3) says; None where it says nothing."""
    if retry_after is None:
        return None
    if retry_after.isascii() and retry_after.isdecimal():
        return float(retry_after[:_MOST_DIGITS])
    try:
        moment = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
