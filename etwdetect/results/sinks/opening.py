"""From what a user writes to a running sink."""

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

    from etwdetect.results.sinks.queue import Carrier

_SYSLOG: Final = "syslog+"


def open_sink(url: str, notify: Callable[[str], None], *, live: bool) -> Sink:
    """Return a running sink to *url*.

    Raises SinkError where that is none, UnsupportedSystemError where this system has no such. *notify* gets a
    sentence when the other side fails and when it is back, from the sink's own thread. If not *live*, the sink may
    keep its caller waiting while the other side takes what it is given.
    """
    try:
        carrier = _carrier(urlsplit(url))
    except ValueError as error:
        raise SinkError(f"{printable(_without_password(url))}: {error}") from error
    return Sink(carrier, notify, live=live)


def _carrier(parts: SplitResult) -> Carrier:
    # Each kind is loaded by whoever asks for it.
    if parts.scheme.startswith(_SYSLOG):
        from etwdetect.results.sinks.syslog import syslog_carrier  # noqa: PLC0415

        if parts.path.strip("/") or parts.query or parts.fragment:
            raise ValueError("a syslog server has a host and a port, and nothing behind them")
        return syslog_carrier(parts.scheme.removeprefix(_SYSLOG), _host(parts), parts.port)
    if parts.scheme in ("http", "https"):
        from etwdetect.results.sinks.http import HttpCarrier  # noqa: PLC0415

        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return HttpCarrier(_host(parts), parts.port, path, secure=parts.scheme == "https")
    if parts.scheme == "eventlog":
        from etwdetect.results.sinks.eventlog import EventLogCarrier  # noqa: PLC0415

        if os.name != "nt":
            raise UnsupportedSystemError("eventlog: the Windows event log is on Windows only")
        return EventLogCarrier(parts.path or "etwdetect")
    raise ValueError(f"is no sink; these are: {FORMS}")


def _host(parts: SplitResult) -> str:
    if parts.username is not None:
        raise ValueError("a password does not belong in a command line; docs/output.md says where it does")
    if not parts.hostname:
        raise ValueError("names no host")
    if not parts.hostname.isprintable() or " " in parts.hostname:
        raise ValueError("has characters in it that no host has")
    parts.hostname.encode("idna")  # UnicodeError, a ValueError, here and not when it is looked up
    return parts.hostname


def _without_password(url: str) -> str:
    head, at, tail = url.rpartition("@")
    return f"{head.partition('://')[0]}://...@{tail}" if at else url
