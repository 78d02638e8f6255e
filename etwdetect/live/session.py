"""Starts, queries, flushes and stops a session, and lists all sessions.

pywintrace's EventProvider starts it. Failures are handled here instead of there: with that class, a provider that
cannot be enabled would leave its session running, a failed stop would leave the consumer running, and the status
of a query would be lost.
"""

from __future__ import annotations

import contextlib
import ctypes
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from etwdetect.core.errors import EtwDetectError
from etwdetect.core.raw import KERNEL_PROCESS
from etwdetect.live import pywintrace as pw
from etwdetect.live.callback import MANIFEST_IDS
from etwdetect.windows import libraries, tracing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FLUSH_MILLISECONDS: Final = 100
"""The longest time an event may stay in a buffer."""

BUFFER_KIB: Final = 256
FEWEST_BUFFERS: Final = 64
MOST_BUFFERS: Final = 256
"""In a measured burst, 256 KiB buffers lost no process starts, and 32 KiB buffers, the usual size, up to half of
them. An image event takes about 250 bytes, so 64 buffers (16 MiB) hold 60,000 events. During a burst Windows may
allocate up to 256 buffers (64 MiB), which hold 250,000 events even if none is consumed meanwhile."""

_KEYWORDS: Final = 0x10 | 0x20 | 0x40  # PROCESS, THREAD, IMAGE
_LEVEL: Final = 4
_FLAGS: Final = 0x1 | 0x2 | 0x4  # EVENT_TRACE_FLAG_PROCESS, _THREAD, _IMAGE_LOAD

_SEQUENTIAL_FILE: Final = 0x0000_0001
_MILLISECOND_FLUSH: Final = 0x0000_0010  # EVENT_TRACE_USE_MS_FLUSH_TIMER of ntwmi.h, Windows 7 and later
_REAL_TIME: Final = 0x0000_0100
_SYSTEM_LOGGER: Final = 0x0200_0000
_ONE_STREAM: Final = 0x1000_0000  # EVENT_TRACE_NO_PER_PROCESSOR_BUFFERING

_QPC: Final = 1
_FIRST_WITH_RUNDOWN: Final = 10586
"""Windows 10 1511: the first build whose provider has the ProcessRundown event."""
_CAPTURE_STATE: Final = 2  # EVENT_CONTROL_CODE_CAPTURE_STATE
_EVENT_ID_FILTER: Final = 0x8000_0200  # EVENT_FILTER_TYPE_EVENT_ID
_NAME_LENGTH: Final = 1024

LONGEST_PATH: Final = _NAME_LENGTH - 1
"""The most UTF-16 code units in the path of a trace file."""

_WCHAR: Final = 2
_USUAL_MOST: Final = 64
"""The limit of sessions, unless EtwMaxLoggers of the registry changes it (Windows 10 and later)."""
_TRACE_GUID_QUERY_INFO: Final = 1
_TRACE_MAX_LOGGERS_QUERY: Final = 19

_GUID_INFO = struct.Struct("<II")
_INSTANCE = struct.Struct("<IIII")
_ENABLE = struct.Struct("<IBxHIIQQ")
"""TRACE_GUID_INFO, TRACE_PROVIDER_INSTANCE_INFO and TRACE_ENABLE_INFO of evntrace.h: 8, 16 and 32 bytes."""


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """What a session records, and where to: to a consumer, or into *file*.

    *kernel_logger* selects a system logger session instead of the provider Microsoft-Windows-Kernel-Process.
    """

    kernel_logger: bool = False
    file: Path | None = None

    def mode(self, *, milliseconds: bool) -> int:
        """Return the LogFileMode."""
        # One stream of buffers for all processors delivers events nearly in order. A file is sorted when it is
        # read, so there each processor may have its own buffers.
        mode = _REAL_TIME | _ONE_STREAM if self.file is None else _SEQUENTIAL_FILE
        if self.kernel_logger:
            mode |= _SYSTEM_LOGGER
        return mode | _MILLISECOND_FLUSH if milliseconds else mode


class SessionStatus(NamedTuple):
    """The status of a session: its losses so far, its id, and the enabled kernel event groups."""

    events_lost: int
    buffers_lost: int
    logger_id: int
    enable_flags: int


class Session:
    """One session called *name*; after `start`, always `stop` it."""

    def __init__(self, name: str, config: SessionConfig) -> None:
        self.name = name
        self.config = config
        self._api = pw.load()
        self.auto_flush = True
        """Whether Windows flushes it every FLUSH_MILLISECONDS; a file gets only full buffers."""
        self.reports_enablement = False
        """Whether Windows reports what is enabled in it; if not right after the start, then never."""
        self._provider: Any = None
        self._filter: Any = None

    def start(self) -> None:
        """Start the session and enable its provider; if that fails, no session is left.

        Raises NotElevatedError, NoSessionLeftError or SystemCallError.
        """
        live = self.config.file is None
        try:
            self._start(milliseconds=live)
        except OSError as error:
            if not live or error.winerror != libraries.ERROR_INVALID_PARAMETER:  # type: ignore[attr-defined,unused-ignore]
                self._failed(error)
            self.auto_flush = False
            try:
                self._start(milliseconds=False)
            except OSError as second:
                self._failed(second)
        with contextlib.suppress(EtwDetectError):
            self.reports_enablement = self._is_enabled(self.query())

    def _start(self, *, milliseconds: bool) -> None:
        """Start the session with pywintrace. Raises OSError."""
        properties = self._properties(milliseconds=milliseconds)
        providers = [] if self.config.kernel_logger else [self._kernel_process()]
        self._provider = self._api.etw.EventProvider(self.name, properties, providers)
        try:
            self._provider.start()
        except OSError:
            if self._provider.session_handle.value:
                self._control(pw.CONTROL_STOP)
                if self.config.file is not None:
                    with contextlib.suppress(OSError):
                        self.config.file.unlink()
            raise

    def _failed(self, error: OSError) -> None:
        pw.fail(f"starting the session {self.name}", error.winerror)  # type: ignore[attr-defined,unused-ignore]

    def capture_state(self) -> bool:
        """Request a ProcessRundown event for each running process; return whether the provider supports that.

        A system logger session logs them without a request.
        """
        if tracing.build() < _FIRST_WITH_RUNDOWN:
            return False
        provider = self._kernel_process()
        return not self._api.evntrace.EnableTraceEx2(
            self._provider.session_handle, ctypes.byref(provider.guid), _CAPTURE_STATE,
            provider.level, provider.any_bitmask, provider.all_bitmask, 0, None,
        )  # fmt: skip

    def query(self) -> SessionStatus:
        """Return the session's status. Raises SessionGoneError if it was stopped by another program."""
        return self._checked("querying", pw.CONTROL_QUERY)

    def flush(self) -> None:
        """Make Windows deliver the contents of its buffers. Raises SessionGoneError."""
        self._checked("flushing", pw.CONTROL_FLUSH)

    def stop(self) -> SessionStatus:
        """Stop the session, which flushes it; return its final status. Raises SessionGoneError."""
        return self._checked("stopping", pw.CONTROL_STOP)

    def is_enabled(self, status: SessionStatus) -> bool:
        """Whether what the session records is still enabled in it; True if Windows does not report that."""
        return not self.reports_enablement or self._is_enabled(status)

    def _is_enabled(self, status: SessionStatus) -> bool:
        if self.config.kernel_logger:
            return status.enable_flags & _FLAGS == _FLAGS
        return status.logger_id in enabled_in(_provider_info())

    def _checked(self, action: str, code: int) -> SessionStatus:
        error, status = self._control(code)
        if error:
            pw.fail(f"{action} the session {self.name}", error, self.name)
        return status

    def _control(self, code: int) -> tuple[int, SessionStatus]:
        # By its name, which is unique: Windows reuses the id of a stopped session.
        # Not by pywintrace's ETW.query(), which drops the error code.
        properties = _answer(self._api)
        error = self._api.evntrace.ControlTraceW(0, self.name, properties.get(), code)
        answer = properties.get().contents
        lost = answer.RealTimeBuffersLost + answer.LogBuffersLost
        return error, SessionStatus(
            answer.EventsLost, lost, answer.Wnode.HistoricalContext & 0xFFFF, answer.EnableFlags
        )

    def _properties(self, *, milliseconds: bool) -> Any:  # noqa: ANN401 (pywintrace has no types)
        properties = self._api.etw.TraceProperties(BUFFER_KIB, _NAME_LENGTH, FEWEST_BUFFERS, MOST_BUFFERS)
        contents = properties.get().contents
        contents.Wnode.ClientContext = _QPC
        contents.LogFileMode = self.config.mode(milliseconds=milliseconds)
        if self.config.file is None:  # in a file each flush takes the space of a full buffer
            contents.FlushTimer = FLUSH_MILLISECONDS if milliseconds else 1
        if self.config.kernel_logger:
            contents.EnableFlags = _FLAGS
        if self.config.file is not None:
            # pywintrace reserves space for two names behind the structure; the second is the file's.
            contents.LogFileNameOffset = contents.LoggerNameOffset + _WCHAR * _NAME_LENGTH
            name = str(self.config.file.absolute())
            ctypes.memmove(
                ctypes.addressof(contents) + contents.LogFileNameOffset,
                ctypes.create_unicode_buffer(name, _NAME_LENGTH),
                _WCHAR * _NAME_LENGTH,
            )
        return properties

    def _kernel_process(self) -> Any:  # noqa: ANN401
        """Return the provider with a filter for the events that are used, so that no others fill the buffers."""
        prov, etw = self._api.evntprov, self._api.etw
        ids = prov.EVENT_FILTER_EVENT_ID(1, MANIFEST_IDS)
        size = ctypes.sizeof(prov.EVENT_FILTER_EVENT_ID) + len(MANIFEST_IDS) * ctypes.sizeof(ctypes.c_ushort)
        descriptor = prov.EVENT_FILTER_DESCRIPTOR(ctypes.addressof(ids.get().contents), size, _EVENT_ID_FILTER)
        self._filter = ids  # the descriptor only points to it
        parameters = etw.ProviderParameters(0, [descriptor]).get()
        guid = pw.guid(KERNEL_PROCESS)
        return etw.ProviderInfo("Microsoft-Windows-Kernel-Process", guid, _LEVEL, _KEYWORDS, 0, parameters)


def _answer(api: pw.Pywintrace) -> Any:  # noqa: ANN401
    """Return properties to be filled by Windows, with space for both names: a file's name needs it."""
    properties = api.etw.TraceProperties(max_str_len=_NAME_LENGTH)
    contents = properties.get().contents
    contents.LogFileNameOffset = contents.LoggerNameOffset + _WCHAR * _NAME_LENGTH
    return properties


def names() -> list[str]:
    """Return the names of all sessions visible to this user. Raises NotElevatedError or SystemCallError."""
    api = pw.load()
    count = ctypes.c_ulong(_USUAL_MOST)
    status = libraries.ERROR_MORE_DATA
    while status == libraries.ERROR_MORE_DATA:
        tables = [_answer(api) for _ in range(count.value)]
        pointers = (ctypes.c_void_p * len(tables))(*(ctypes.addressof(table.get().contents) for table in tables))
        status = tracing.advapi32().QueryAllTracesW(pointers, len(tables), ctypes.byref(count))
    if status:
        pw.fail("listing the sessions", status)
    found = (table.get().contents for table in tables[: count.value])
    return [ctypes.wstring_at(ctypes.addressof(each) + each.LoggerNameOffset) for each in found]


def most() -> int:
    """Return the limit of sessions of this machine."""
    answer, size = ctypes.c_ulong(_USUAL_MOST), ctypes.c_ulong()
    query = getattr(tracing.advapi32(), "TraceQueryInformation", None)  # missing in Wine
    if query is not None:  # an old Windows leaves the answer unchanged
        no_session = ctypes.c_ulonglong(0)
        size_of_answer = ctypes.sizeof(answer)
        query(no_session, _TRACE_MAX_LOGGERS_QUERY, ctypes.byref(answer), size_of_answer, ctypes.byref(size))
    return answer.value


def stop_by_name(name: str) -> None:
    """Stop the session *name* if it still exists. Raises NotElevatedError or SystemCallError."""
    api = pw.load()
    status = api.evntrace.ControlTraceW(0, name, _answer(api).get(), pw.CONTROL_STOP)
    if status not in (0, libraries.ERROR_WMI_INSTANCE_NOT_FOUND):
        pw.fail(f"stopping the session {name}", status)


def enabled_in(info: bytes) -> set[int]:
    """Return the ids of the sessions in which a provider is enabled with the keywords used here.

    *info* is its TRACE_GUID_INFO from EnumerateTraceGuidsEx; empty for a provider that is not registered.
    """
    return {
        logger_id
        for enabled, level, logger_id, _, _, any_keyword, _ in _enable_infos(info)
        if enabled and level >= _LEVEL and any_keyword & _KEYWORDS == _KEYWORDS
    }


def _enable_infos(info: bytes) -> Iterator[tuple[int, ...]]:
    at = _GUID_INFO.size
    instances = _GUID_INFO.unpack_from(info)[0] if info else 0
    for _ in range(instances):
        next_offset, count, _, _ = _INSTANCE.unpack_from(info, at)
        for number in range(count):
            yield _ENABLE.unpack_from(info, at + _INSTANCE.size + number * _ENABLE.size)
        at += next_offset


def _provider_info() -> bytes:
    """Return the TRACE_GUID_INFO of Microsoft-Windows-Kernel-Process; empty if it is not registered."""
    query = getattr(tracing.advapi32(), "EnumerateTraceGuidsEx", None)
    if query is None:  # Wine has neither the function nor the provider
        return b""
    size = ctypes.c_ulong(4096)
    while True:
        answer = ctypes.create_string_buffer(size.value)
        status = query(
            _TRACE_GUID_QUERY_INFO, KERNEL_PROCESS, len(KERNEL_PROCESS), answer, len(answer), ctypes.byref(size)
        )
        if status == libraries.ERROR_WMI_GUID_NOT_FOUND:
            return b""
        if status == 0:
            return answer.raw[: size.value]
        if status != libraries.ERROR_INSUFFICIENT_BUFFER:
            pw.fail("querying the provider Microsoft-Windows-Kernel-Process", status)
