"""Receives a session's events on a thread of its own, without pywintrace's decoding.

pywintrace's EventConsumer holds the structures, but the session is opened and processed here: that class ignores a
failed open, runs a thread that keeps the program from exiting, and restarts when a session has ended.
"""

from __future__ import annotations

import ctypes
import threading
from typing import TYPE_CHECKING, Final

from etwdetect.live import errors
from etwdetect.live import pywintrace as pw
from etwdetect.windows import libraries, tracing

if TYPE_CHECKING:
    from etwdetect.live.callback import RecordQueue

_EVENT_RECORDS: Final = 0x1000_0000  # PROCESS_TRACE_MODE_EVENT_RECORD
_REAL_TIME: Final = 0x0000_0100  # PROCESS_TRACE_MODE_REAL_TIME
_INVALID: Final = 0xFFFF_FFFF_FFFF_FFFF  # INVALID_PROCESSTRACE_HANDLE
_ENDED: Final = (0, libraries.ERROR_CANCELLED)
"""What ProcessTrace returns where the session was stopped, and where it was closed."""
_CALLBACK: Final = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
"""The record is passed as an address: creating a pointer object for each would be slow."""
_CLOSE_SECONDS: Final = 10.0
"""How long closing waits for a running callback."""


class Consumer:
    """Passes the records of the session *name* to *queue*, from `start` until the session stops.

    Raises SessionGoneError, NotElevatedError or SystemCallError if the session cannot be opened.
    """

    def __init__(self, name: str, queue: RecordQueue) -> None:
        self.status: int | None = None
        """What ProcessTrace returned: a Win32 error, 0 where the session was stopped; None while it runs."""
        self._name = name
        self._api = pw.load()
        trace = self._api.evntrace
        # Keep both as long as Windows may call.
        self._callback = _CALLBACK(queue.on_record)
        logfile = trace.EVENT_TRACE_LOGFILE()
        logfile.LoggerName = name
        logfile.ProcessTraceMode = _REAL_TIME | _EVENT_RECORDS
        logfile.EventRecordCallback = ctypes.cast(self._callback, trace.EVENT_RECORD_CALLBACK)
        self._consumer = self._api.etw.EventConsumer(name, trace_logfile=logfile)
        # pywintrace's OpenTraceW does not save the error, which Python may overwrite when it acquires the GIL.
        open_trace = tracing.advapi32().OpenTraceW
        open_trace.restype = trace.TRACEHANDLE
        handle = open_trace(ctypes.byref(logfile))
        if handle == _INVALID:
            raise errors.failure(f"opening the session {name}: OpenTrace", libraries.last_error(), name)
        self._handle = trace.TRACEHANDLE(handle)
        self._thread = threading.Thread(target=self._run, name="ETW consumer", daemon=True)

    def start(self) -> None:
        """Begin to receive events."""
        self._thread.start()

    def _run(self) -> None:
        self.status = self._api.evntrace.ProcessTrace(ctypes.byref(self._handle), 1, None, None)

    @property
    def failure(self) -> str | None:
        """Why Windows stopped delivering, if that was not because the session was stopped or closed."""
        if self.status in (None, *_ENDED):
            return None
        assert self.status is not None
        return str(errors.failure("ProcessTrace", self.status, self._name))

    @property
    def ended(self) -> bool:
        """Whether delivery has ended: the session was stopped, and all its events were delivered."""
        return self._thread.ident is not None and not self._thread.is_alive()

    def close(self) -> None:
        """Stop receiving events."""
        self._api.evntrace.CloseTrace(self._handle)
        if self._thread.ident is not None:
            self._thread.join(_CLOSE_SECONDS)
