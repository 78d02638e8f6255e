"""Opens a sink from its URL."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, urlsplit

from etwdetect.core.errors import UnsupportedSystemError
from etwdetect.results.sinks import FORMS, WAIT
from etwdetect.results.sinks.errors import SinkError
from etwdetect.results.sinks.queue import Sink
from etwdetect.results.wording import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from etwdetect.results.sinks.queue import Transport

_SYSLOG: Final = "syslog+"


def open_sink(url: str, notify: Callable[[str], None], *, wait: float | None = WAIT) -> Sink:
    """Return a running sink to *url*, with a queue in memory. Raises what `open_transport` does.

    *notify* is called from the sink's own thread, with a sentence, when the receiver fails and when it is back.
    *wait* is how many seconds a full queue waits for a receiver that takes nothing; None, for live results, never.
    """
    return Sink(open_transport(url), notify, wait=wait)


def open_transport(url: str) -> Transport:
    """Return what sends to *url*; it connects when it sends.

    Raises SinkError where it is not a sink's URL, UnsupportedSystemError where this system lacks the sink.
    """
    try:
        return _transport(urlsplit(url))
    except ValueError as error:
        raise SinkError(f"{printable(_without_password(url))}: {error}") from error


def _transport(parts: SplitResult) -> Transport:
    # Lazy imports: only the sink that is used is loaded.
    if parts.scheme.startswith(_SYSLOG):
        from etwdetect.results.sinks.syslog_transport import syslog_transport  # noqa: PLC0415

        protocol = parts.scheme.removeprefix(_SYSLOG)
        return syslog_transport(protocol, _host(parts), parts.port, **_limit(parts))
    if parts.scheme.partition("+")[0] in ("http", "https"):
        from etwdetect.results.sinks.http import HttpTransport  # noqa: PLC0415

        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        scheme, _, body = parts.scheme.partition("+")
        return HttpTransport(_host(parts), parts.port, path, secure=scheme == "https", body=body or "json")
    if parts.scheme == "eventlog":
        from etwdetect.results.sinks.eventlog import EventLogTransport  # noqa: PLC0415

        if os.name != "nt":
            raise UnsupportedSystemError("eventlog: the Windows event log is on Windows only")
        return EventLogTransport(parts.path or "etwdetect")
    raise ValueError(f"is not a sink; sinks are: {FORMS}")


def _limit(parts: SplitResult) -> dict[str, int]:
    """Return the limit of a message, where a syslog URL gives one."""
    name, _, value = parts.query.partition("=")
    if parts.path.strip("/") or parts.fragment or (parts.query and name != "limit"):
        raise ValueError("a syslog URL ends after the host and the port, or with ?limit=BYTES")
    return {"limit": int(value)} if name else {}


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
