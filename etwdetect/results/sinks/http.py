"""HTTP: records as JSON lines, many in one POST, over a persistent connection."""

from __future__ import annotations

import http.client
import os
import ssl
from typing import TYPE_CHECKING, Final

from etwdetect._version import __version__
from etwdetect.results.sinks.errors import RefusedError
from etwdetect.results.sinks.limited import LimitedConnection, LimitedTlsConnection
from etwdetect.results.writers import json_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from etwdetect.enrich.detection import Detection

AUTHORIZATION: Final = "ETWDETECT_HTTP_AUTHORIZATION"
"""The environment variable with the Authorization header's value: command lines must have no secrets."""

_SECONDS: Final = 5.0
"""How long connecting may take, and a request with its answer in all."""

_LATER: Final = frozenset((408, 425, 429))
"""The statuses below 500 after which a request is repeated."""

_MOST_ANSWER: Final = 65_536
"""How many bytes of an answer are read; they are not used."""


class HttpTransport:
    """Posts to *path* at *host*; ValueError where the path or the header from the environment is invalid.

    A batch can arrive twice when the connection breaks before its answer.
    """

    batch = 500

    def __init__(self, host: str, port: int | None, path: str, *, secure: bool) -> None:
        self.name = f"{'https' if secure else 'http'}://{f'[{host}]' if ':' in host else host}"
        self.name += "" if port is None else f":{port}"
        if not path.isascii() or not path.isprintable() or " " in path:
            raise ValueError("has characters that a URL can't have")
        self._path = path
        self._line = json_line("json")
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
        authorization = os.environ.get(AUTHORIZATION)
        if authorization is not None:
            if not authorization.isascii() or not authorization.isprintable():
                raise ValueError(f"{AUTHORIZATION} has characters that a header can't have")
            self._headers["Authorization"] = authorization

    def message(self, detection: Detection) -> bytes:
        """Return the line of json."""
        return self._line(detection).encode("ascii") + b"\n"

    def send(self, messages: Sequence[bytes]) -> None:
        """Post *messages* and wait for the answer."""
        body = b"".join(messages)
        was_open = self._connection.sock is not None
        try:
            status, reason = self._post(body)
        except ConnectionError:
            if not was_open:
                raise
            self.close()  # servers close idle connections
            status, reason = self._post(body)
        if status in _LATER or status >= 500:
            raise OSError(f"it answers {status} {reason}")
        if not 200 <= status < 300:
            raise RefusedError(f"it answers {status} {reason}")

    def _post(self, body: bytes) -> tuple[int, str]:
        try:
            with self._connection.limited(_SECONDS):
                self._connection.request("POST", self._path, body, self._headers)
                response = self._connection.getresponse()
                if len(response.read(_MOST_ANSWER)) == _MOST_ANSWER:
                    self._connection.close()
        except ConnectionError:  # one of them is an HTTPException too
            raise
        except http.client.HTTPException as error:
            raise OSError(f"not a valid HTTP answer: {type(error).__name__} {error}") from error
        return response.status, response.reason

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
