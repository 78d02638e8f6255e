"""The process of a job: it scans one trace after the other, and sends what it finds.

Each message is a byte that says what it is, and a value, pickled.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import threading
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from etwdetect.cli.sources import TraceSource
from etwdetect.core.errors import NotATraceError
from etwdetect.offline import Scan
from etwdetect.sources.packed import sha256

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    from etwdetect.cli.printing import Printer
    from etwdetect.enrich.detection import Detection
    from etwdetect.enrich.kinds import Kinds
    from etwdetect.enrich.paths import Drives
    from etwdetect.offline.inputs import Input

RESULT: Final = b"r"
"""What a trace is called, and what was found of it so far: a ScanResult."""

FOUND: Final = b"f"
"""The next remote threads: a list of Detections, or what was Printed of them."""

END: Final = b"e"
"""The trace is done: None, or the exception that ended it."""

UNREAD: Final = b"u"
"""The trace can't be read at all: the arguments of a NotATraceError."""

_AT_ONCE: Final = 256
"""How many remote threads are sent at a time."""


class ScanOptions(NamedTuple):
    """What the user chose for the scans; *printer* makes what prints what they find, if only lines are wanted."""

    kinds: Kinds
    drives: Drives
    host: str | None
    hash: bool
    printer: Callable[[], Printer] | None = None


class Unprinted:
    """Takes the place of a printer where detections are wanted as they are."""

    def __init__(self) -> None:
        self._detections: list[Detection] = []

    def show(self, detection: Detection) -> None:
        """Take the next detection."""
        self._detections.append(detection)

    def flush(self) -> None:
        """Do nothing: `printed` returns all."""

    def printed(self) -> list[Detection]:
        """Return what was taken since this was asked the last time."""
        detections, self._detections = self._detections, []
        return detections


def work(orders: Connection, results: Connection, options: ScanOptions) -> None:
    """Scan what is ordered, one trace after the other, and send what is found."""
    waiting: queue.SimpleQueue[Input] = queue.SimpleQueue()
    stopping = threading.Event()
    running: list[Scan] = []

    def listen() -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                order = orders.recv()
                if order is not None:
                    waiting.put(order)
                    continue
                stopping.set()
                for scan in running:
                    scan.stop()
        os._exit(0)  # the command ended

    threading.Thread(target=listen, daemon=True).start()
    printer = options.printer() if options.printer else Unprinted()
    while True:
        found = waiting.get()
        try:
            with found.open() as trace:
                digest = sha256([found.place]) if options.hash else None
                scan = Scan([trace], kinds=options.kinds, drives=options.drives, host=options.host)
                running[:] = [scan]
                if stopping.is_set():
                    scan.stop()
                send_all(TraceSource(scan, digest), results, printer)
        except NotATraceError as error:
            _send(results, UNREAD, (error.name, error.why, error.offset))
        except BrokenPipeError:
            return
        except Exception as error:  # noqa: BLE001 (the command tells it)
            _send(results, END, _sendable(error))


def _send(results: Connection, kind: bytes, value: Any) -> None:  # noqa: ANN401 (what *kind* says)
    results.send_bytes(kind + pickle.dumps(value))


def send_all(source: TraceSource, results: Connection, printer: Printer | Unprinted) -> None:
    """Send how *source* is called, and what it tells; once the first remote thread is known, all but the last."""
    _send(results, RESULT, source.result())
    error = None
    try:
        for number, detection in enumerate(source.found()):
            if number == 0:
                _send(results, RESULT, source.result())
            printer.show(detection)
            if number % _AT_ONCE == 0:
                _send(results, FOUND, printer.printed())
    except BrokenPipeError:
        raise
    except Exception as raised:  # noqa: BLE001 (the command tells it)
        error = raised
    printer.flush()
    _send(results, FOUND, printer.printed())
    _send(results, RESULT, source.result())
    _send(results, END, error and _sendable(error))


def _sendable(error: Exception) -> Exception:
    """Return *error*, or one that says the same and can be sent."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 (made here)
    except Exception:  # noqa: BLE001 (what can't be sent need not say why)
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
