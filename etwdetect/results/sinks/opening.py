"""Opens a sink from its URL."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, urlsplit

from etwdetect.core.errors import UnsupportedSystemError
from etwdetect.results.sinks import FORMS
from etwdetect.results.sinks.errors import SinkError
from etwdetect.results.sinks.queue import Sink
from etwdetect.results.wording import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from etwdetect.results.sinks.queue import Transport

_SYSLOG: Final = "syslog+"


def open_sink(url: str, notify: Callable[[str], None], *, live: bool) -> Sink:
    """Return a running sink to *url*.

    Raises SinkError where it is not a sink's URL, UnsupportedSystemError where this system lacks the sink.
    *notify* is called from the sink's own thread, with a sentence, when the receiver fails and when it is back. If
    not *live*, `put` may block while the queue is full and the receiver works.
    """
    try:
        transport = _transport(urlsplit(url))
    except ValueError as error:
        raise SinkError(f"{printable(_without_password(url))}: {error}") from error
    return Sink(transport, notify, live=live)


def _transport(parts: SplitResult) -> Transport:
    # Lazy imports: only the sink that is used is loaded.
    if parts.scheme.startswith(_SYSLOG):
        from etwdetect.results.sinks.syslog import syslog_transport  # noqa: PLC0415

        if parts.path.strip("/") or parts.query or parts.fragment:
            raise ValueError("a syslog URL ends after the host and the port")
        return syslog_transport(parts.scheme.removeprefix(_SYSLOG), _host(parts), parts.port)
    if parts.scheme in ("http", "https"):
        from etwdetect.results.sinks.http import HttpTransport  # noqa: PLC0415

        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return HttpTransport(_host(parts), parts.port, path, secure=parts.scheme == "https")
    if parts.scheme == "eventlog":
        from etwdetect.results.sinks.eventlog import EventLogTransport  # noqa: PLC0415

        if os.name != "nt":
            raise UnsupportedSystemError("eventlog: the Windows event log is on Windows only")
        return EventLogTransport(parts.path or "etwdetect")
    raise ValueError(f"is not a sink; sinks are: {FORMS}")


def _host(parts: SplitResult) -> str:
    if parts.username is not None:
        raise ValueError("a password must not be in a command line; put it in ETWDETECT_HTTP_AUTHORIZATION")
    if not parts.hostname:
        raise ValueError("has no host")
    if not parts.hostname.isprintable() or " " in parts.hostname:
        raise ValueError("has characters that a host can't have")
    parts.hostname.encode("idna")  # raises UnicodeError, a ValueError, now and not at the look-up
    return parts.hostname


def _without_password(url: str) -> str:
    head, at, tail = url.rpartition("@")
    return f"{head.partition('://')[0]}://...@{tail}" if at else url
