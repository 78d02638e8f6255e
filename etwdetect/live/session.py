"""Starts, queries, flushes and stops a session.

The structures are pywintrace's; the calls are made here, because its EventProvider does not tell which call
failed, leaves the session running where a provider cannot be enabled, and drops the status of a query.
"""

from __future__ import annotations

import contextlib
import ctypes
import time
from struct import Struct
from typing import Any, Final, NamedTuple

from etwdetect.core.errors import EtwDetectError
from etwdetect.core.raw import EVENT_TRACING, KERNEL_PROCESS, THREAD
from etwdetect.live import errors, sessions
from etwdetect.live import pywintrace as pw
from etwdetect.live.callback import USER_PART_ID
from etwdetect.live.sessions import NAME_LENGTH, WCHAR
from etwdetect.live.settings import (
    ASK_FOR_STACKS,
    BUFFER_KIB,
    ENABLE,
    FEWEST_BUFFERS,
    FLAGS,
    FLUSH_MILLISECONDS,
    KEYWORDS,
    LEVEL,
    MOST_BUFFERS,
    START,
    AppliedSettings,
    Extra,
    SessionConfig,
)
from etwdetect.windows import accounts, libraries, tracing

NAME_SECONDS: Final = 2.0
"""How long a start waits for its name: that of a stopped session stays taken for a moment."""

_NAME_PAUSE: Final = 0.1
_QPC: Final = 1
_FIRST_WITH_RUNDOWN: Final = 10586
"""Windows 10 1511: the first build whose provider has the ProcessRundown event."""
_ENABLE_PROVIDER: Final = 1  # EVENT_CONTROL_CODE_ENABLE_PROVIDER
_CAPTURE_STATE: Final = 2  # EVENT_CONTROL_CODE_CAPTURE_STATE
_EVENT_ID_FILTER: Final = 0x8000_0200  # EVENT_FILTER_TYPE_EVENT_ID
_STACK_FILTER: Final = 0x8000_1000  # EVENT_FILTER_TYPE_STACKWALK
_STACK_TRACE: Final = 0x4  # EVENT_ENABLE_PROPERTY_STACK_TRACE
_START_KEY: Final = 0x80  # EVENT_ENABLE_PROPERTY_PROCESS_START_KEY
_FIRST_WITH_START_KEY: Final = 10240
"""Windows 10 1507."""
_STACK_TRACING_INFO: Final = 3  # TraceStackTracingInfo
_THREAD_START_ID: Final = 3
_CLASSIC_START: Final = Struct("<16sB7x")  # CLASSIC_EVENT_ID
_REFUSED: Final = (libraries.ERROR_INVALID_PARAMETER, libraries.ERROR_NOT_SUPPORTED)
"""What a call returns for a setting that this Windows does not know."""


class SessionStatus(NamedTuple):
    """The status of a session: its losses so far, its id, and the enabled kernel event groups."""

    events_lost: int
    buffers_lost: int
    logger_id: int
    enable_flags: int


class SessionSettings(NamedTuple):
    """What Windows made of a session's settings: the flush timer's unit depends on the mode."""

    mode: int
    flush_timer: int
    buffer_kib: int
    minimum_buffers: int
    maximum_buffers: int
    buffers: int


class Session:
    """One session called *name*; after `start`, always `stop` it."""

    def __init__(self, name: str, config: SessionConfig) -> None:
        self.name = name
        self.config = config
        self.applied = AppliedSettings(config)
        self._api = pw.load()
        self.reports_enablement = False
        """Whether Windows reports what is enabled in it; if not right after the start, then never."""
        self._handle = self._api.evntrace.TRACEHANDLE()
        self._filters: list[Any] = []

    @property
    def auto_flush(self) -> bool:
        """Whether Windows flushes it every FLUSH_MILLISECONDS; a file gets only full buffers."""
        return self.config.file is not None or Extra.MILLISECONDS in self.applied.extras

    @property
    def per_processor(self) -> bool:
        """Whether each processor has a stream of buffers of its own."""
        return Extra.ONE_STREAM not in self.applied.extras

    def start(self) -> None:
        """Start the session and enable its provider; if that fails, no session is left.

        What Windows refuses is given up, one setting at a time, and listed in `applied.missing`. Raises
        NotElevatedError, LiveError or SystemCallError, which name the call that failed.
        """
        if self.config.kernel_logger:
            accounts.enable_privilege(accounts.PROFILE_PRIVILEGE)
        deadline = time.monotonic() + NAME_SECONDS
        while failed := self._try_to_start():
            call, code = failed
            if code == libraries.ERROR_ALREADY_EXISTS and time.monotonic() < deadline:
                time.sleep(_NAME_PAUSE)
            elif code not in _REFUSED or not self.applied.give_up(call):
                raise errors.failure(f"starting the session {self.name}: {call}", code)
        with contextlib.suppress(EtwDetectError):
            self.applied.read_back(self.settings().mode)
            self.reports_enablement = self._is_enabled(self.query())

    def _try_to_start(self) -> tuple[str, int] | None:
        """Return the call that failed and its error, after undoing what came before it; None if none failed."""
        trace = self._api.evntrace
        properties = self._properties()
        code = trace.StartTraceW(ctypes.byref(self._handle), self.name, properties.get())
        if code:
            return START, code
        if self.config.kernel_logger:
            self._ask_for_stacks()
            return None
        provider = self._kernel_process()
        if provider.params:
            provider.params.contents.SourceId = properties.get().contents.Wnode.Guid
        code = self._enable(provider, _ENABLE_PROVIDER, provider.params)
        if not code:
            if Extra.STACKS in self.applied.extras:
                self._enable_user_parts()
            return None
        self._control(pw.CONTROL_STOP)
        if self.config.file is not None:
            with contextlib.suppress(OSError):
                self.config.file.unlink()
        return ENABLE, code

    def _enable(self, provider: Any, code: int, parameters: Any) -> int:  # noqa: ANN401 (pywintrace has no types)
        status: int = self._api.evntrace.EnableTraceEx2(
            self._handle, ctypes.byref(provider.guid), code, provider.level, provider.any_bitmask,
            provider.all_bitmask, 0, parameters,
        )  # fmt: skip
        return status

    def _ask_for_stacks(self) -> None:
        """Ask a system logger for the stacks of thread starts, which it can do without."""
        if Extra.KERNEL_STACKS not in self.applied.extras:
            return
        event = ctypes.create_string_buffer(_CLASSIC_START.pack(THREAD, 1), _CLASSIC_START.size)
        ask = tracing.advapi32().TraceSetInformation
        if ask(self._handle, _STACK_TRACING_INFO, event, ctypes.c_ulong(_CLASSIC_START.size)):
            self.applied.give_up(ASK_FOR_STACKS)

    def _enable_user_parts(self) -> None:
        """Enable the event with user parts that come alone: without it they are missing, and records say so."""
        parameters = self._api.etw.ProviderParameters(0, [self._id_filter((USER_PART_ID,))]).get()
        name, guid = "Microsoft-Windows-Kernel-EventTracing", pw.guid(EVENT_TRACING)
        provider = self._api.etw.ProviderInfo(name, guid, LEVEL, 0, 0, parameters)
        if self._enable(provider, _ENABLE_PROVIDER, parameters):
            self.applied.missing.append(f"user parts of call stacks that come alone ({ENABLE} refused them)")

    def capture_state(self) -> bool:
        """Request a ProcessRundown event for each running process; return whether the provider supports that.

        A system logger session logs them without a request.
        """
        if tracing.build() < _FIRST_WITH_RUNDOWN:
            return False
        return not self._enable(self._kernel_process(), _CAPTURE_STATE, None)

    def query(self) -> SessionStatus:
        """Return the session's status. Raises SessionGoneError if it was stopped by another program."""
        return _status(self._checked("querying", pw.CONTROL_QUERY))

    def settings(self) -> SessionSettings:
        """Return what Windows made of the session's settings. Raises SessionGoneError."""
        found = self._checked("querying", pw.CONTROL_QUERY)
        return SessionSettings(
            found.LogFileMode, found.FlushTimer, found.BufferSize, found.MinimumBuffers, found.MaximumBuffers,
            found.NumberOfBuffers,
        )  # fmt: skip

    def flush(self) -> None:
        """Make Windows deliver the contents of its buffers. Raises SessionGoneError."""
        self._checked("flushing", pw.CONTROL_FLUSH)

    def stop(self) -> SessionStatus:
        """Stop the session, which flushes it; return its final status. Raises SessionGoneError."""
        return _status(self._checked("stopping", pw.CONTROL_STOP))

    def is_enabled(self, status: SessionStatus) -> bool:
        """Whether what the session records is still enabled in it; True if Windows does not report that."""
        return not self.reports_enablement or self._is_enabled(status)

    def _is_enabled(self, status: SessionStatus) -> bool:
        if self.config.kernel_logger:
            return status.enable_flags & FLAGS == FLAGS
        return status.logger_id in sessions.enabled_in(sessions.provider_info())

    def _checked(self, action: str, code: int) -> Any:  # noqa: ANN401
        error, answer = self._control(code)
        if error:
            raise errors.failure(f"{action} the session {self.name}: ControlTrace", error, self.name)
        return answer

    def _control(self, code: int) -> tuple[int, Any]:
        # By its name, which is unique: Windows reuses the id of a stopped session.
        # Not by pywintrace's ETW.query(), which drops the error code.
        properties = sessions.answer()
        error = self._api.evntrace.ControlTraceW(0, self.name, properties.get(), code)
        # A copy: the structure's memory is the properties' own.
        return error, type(properties.get().contents).from_buffer_copy(properties.get().contents)

    def _properties(self) -> Any:  # noqa: ANN401
        properties = self._api.etw.TraceProperties(BUFFER_KIB, NAME_LENGTH, FEWEST_BUFFERS, MOST_BUFFERS)
        contents = properties.get().contents
        contents.Wnode.ClientContext = _QPC
        contents.LogFileMode = self.config.mode(self.applied.extras)
        if self.config.file is None:  # in a file each flush takes the space of a full buffer
            contents.FlushTimer = FLUSH_MILLISECONDS if self.auto_flush else 1
        if self.config.kernel_logger:
            contents.EnableFlags = FLAGS
        if self.config.file is not None:
            # pywintrace reserves space for two names behind the structure; the second is the file's.
            contents.LogFileNameOffset = contents.LoggerNameOffset + WCHAR * NAME_LENGTH
            name = str(self.config.file.absolute())
            ctypes.memmove(
                ctypes.addressof(contents) + contents.LogFileNameOffset,
                ctypes.create_unicode_buffer(name, NAME_LENGTH),
                WCHAR * NAME_LENGTH,
            )
        return properties

    def _kernel_process(self) -> Any:  # noqa: ANN401
        """Return the provider with a filter for the events that are used, so that no others fill the buffers."""
        etw, guid = self._api.etw, pw.guid(KERNEL_PROCESS)
        filters, properties = [], 0
        if wanted := self.applied.ids:
            filters.append(self._id_filter(wanted))
            # Given up together: a Windows that refuses the filter is older than the keys.
            if tracing.build() >= _FIRST_WITH_START_KEY:
                properties |= _START_KEY
        if Extra.STACKS in self.applied.extras:
            filters.append(self._id_filter((_THREAD_START_ID,), _STACK_FILTER))
            properties |= _STACK_TRACE
        parameters = etw.ProviderParameters(properties, filters).get() if filters else None
        return etw.ProviderInfo("Microsoft-Windows-Kernel-Process", guid, LEVEL, KEYWORDS, 0, parameters)

    def _id_filter(self, ids: tuple[int, ...], kind: int = _EVENT_ID_FILTER) -> Any:  # noqa: ANN401
        """Return a filter that lets the event *ids* pass: as events or, for _STACK_FILTER, for their stacks."""
        prov = self._api.evntprov
        wanted = prov.EVENT_FILTER_EVENT_ID(1, ids)
        size = ctypes.sizeof(prov.EVENT_FILTER_EVENT_ID) + len(ids) * ctypes.sizeof(ctypes.c_ushort)
        self._filters.append(wanted)  # the descriptor only points to it
        return prov.EVENT_FILTER_DESCRIPTOR(ctypes.addressof(wanted.get().contents), size, kind)


def _status(answer: Any) -> SessionStatus:  # noqa: ANN401
    lost = answer.RealTimeBuffersLost + answer.LogBuffersLost
    return SessionStatus(answer.EventsLost, lost, answer.Wnode.HistoricalContext & 0xFFFF, answer.EnableFlags)
