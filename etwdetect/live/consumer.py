"""Receives a session's events on a thread of its own, without pywintrace's decoding.

pywintrace's EventConsumer holds what the consumer needs. It is opened and run here: that class takes a trace that
can't be opened for an open one, runs a thread that keeps a program from ending, and starts over when a session
has ended.
"""

from __future__ import annotations

import ctypes
import threading
from typing import TYPE_CHECKING, Final

from etwdetect.live import pywintrace as pw

if TYPE_CHECKING:
    from etwdetect.live.callback import Intake

_EVENT_RECORDS: Final = 0x1000_0000  # PROCESS_TRACE_MODE_EVENT_RECORD
_REAL_TIME: Final = 0x0000_0100  # PROCESS_TRACE_MODE_REAL_TIME
_INVALID: Final = 0xFFFF_FFFF_FFFF_FFFF  # INVALID_PROCESSTRACE_HANDLE
_CALLBACK: Final = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
"""The record is an address: a pointer object for each would be slow."""
_PATIENCE: Final = 10.0
"""Seconds that a callback may take to return."""


class Consumer:
    """Gives the records of the session *name* to *intake*, from the moment it is made until the session stops.

    Raises LiveError when the session can't be opened.
    """

    def __init__(self, name: str, intake: Intake) -> None:
        self._api = pw.load()
        trace = self._api.evntrace
        # Both are kept for as long as Windows may call.
        self._callback = _CALLBACK(intake.on_record)
        logfile = trace.EVENT_TRACE_LOGFILE()
        logfile.LoggerName = name
        logfile.ProcessTraceMode = _REAL_TIME | _EVENT_RECORDS
        logfile.EventRecordCallback = ctypes.cast(self._callback, trace.EVENT_RECORD_CALLBACK)
        self._consumer = self._api.etw.EventConsumer(name, trace_logfile=logfile)
        # pywintrace's OpenTraceW keeps no error, and Python may change it next, when it takes its lock.
        open_trace = pw.advapi32().OpenTraceW
        open_trace.restype = trace.TRACEHANDLE
        handle = open_trace(ctypes.byref(logfile))
        if handle == _INVALID:
            pw.fail(f"opening the session {name}", pw.last_error(), name)
        self._handle = trace.TRACEHANDLE(handle)
        self._thread = threading.Thread(target=self._run, name="ETW consumer", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._api.evntrace.ProcessTrace(ctypes.byref(self._handle), 1, None, None)

    @property
    def ended(self) -> bool:
        """Whether Windows delivers no more: the session has stopped, and all of it was delivered."""
        return not self._thread.is_alive()

    def close(self) -> None:
        """Receive no more."""
        self._api.evntrace.CloseTrace(self._handle)
        self._thread.join(_PATIENCE)
