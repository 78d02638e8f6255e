"""HTTP connections on which a request takes no longer than a given time in all, whatever the server does.

A timeout of a socket is for one wait: a server that sends ``100 Continue`` for ever, or a byte now and then, would
never meet it.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class LimitedConnection(http.client.HTTPConnection):
    """A connection without TLS, whose requests `limited` ends."""

    _watched: socket.socket | None = None
    """The connection itself, also while TLS is negotiated over it."""

    def connect(self) -> None:
        """Connect, and keep a second handle of the connection."""
        self._forget()
        super().connect()
        self._watched = self.sock.dup()

    def close(self) -> None:
        """Close the connection."""
        super().close()
        self._forget()

    def _forget(self) -> None:
        if self._watched is not None:
            self._watched.close()
            self._watched = None

    @contextlib.contextmanager
    def limited(self, seconds: float) -> Iterator[None]:
        """Break the connection off after *seconds*, and raise TimeoutError at the end if that was done.

        Who reads from a connection that is broken off gets an error on some systems, and the end on others.
        """
        over = threading.Event()

        def break_off() -> None:
            over.set()
            watched = self._watched
            if watched is not None:
                with contextlib.suppress(OSError):
                    watched.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(seconds, break_off)
        timer.daemon = True
        timer.start()
        failure: Exception | None = None
        try:
            yield
        except (OSError, http.client.HTTPException) as error:
            if not over.is_set():
                raise
            failure = error
        finally:
            timer.cancel()
        if over.is_set():
            self.close()
            raise TimeoutError(f"it did not answer within {seconds:g} seconds") from failure


class LimitedTlsConnection(http.client.HTTPSConnection, LimitedConnection):
    """The same with TLS: its negotiation counts too."""
