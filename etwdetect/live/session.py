"""A session of our own: how it is started, asked, flushed and stopped, and the list of all there are.

pywintrace's EventProvider starts it. What that class does when something fails is done here instead: a provider
that can't be enabled would leave its session behind, an error of the stop would leave the consumer running, and a
query's status would be lost.
"""

from __future__ import annotations

import contextlib
import ctypes
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from etwdetect.core.raw import KERNEL_PROCESS
from etwdetect.live import pywintrace as pw
from etwdetect.live.callback import MANIFEST_IDS
from etwdetect.live.errors import LiveError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FLUSH_MILLISECONDS: Final = 100
"""How long an event may stay in a buffer."""

BUFFER_KIB: Final = 256
FEWEST_BUFFERS: Final = 64
MOST_BUFFERS: Final = 256
"""Buffers of 256 KiB lost none of the process starts of which 32 KiB ones, the usual size, lost up to a half. An
image event takes some 250 bytes, so 64 buffers, 16 MiB, hold 60,000 events at once. While a burst lasts, Windows
may go up to 64 MiB: 250,000 events, should nobody take a single one meanwhile."""

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
"""Windows 10 1511: the first build whose provider has the event ProcessRundown."""
_CAPTURE_STATE: Final = 2  # EVENT_CONTROL_CODE_CAPTURE_STATE
_EVENT_ID_FILTER: Final = 0x8000_0200  # EVENT_FILTER_TYPE_EVENT_ID
_NAME_LENGTH: Final = 1024

LONGEST_PATH: Final = _NAME_LENGTH - 1
"""How many UTF-16 units the path of a trace file may have; Windows takes no more."""

_WCHAR: Final = 2
_USUAL_MOST: Final = 64
"""How many sessions there may be, unless the machine's EtwMaxLoggers says otherwise (Windows 10 and later)."""
_TRACE_GUID_QUERY_INFO: Final = 1
_TRACE_MAX_LOGGERS_QUERY: Final = 19

_GUID_INFO = struct.Struct("<II")
_INSTANCE = struct.Struct("<IIII")
_ENABLE = struct.Struct("<IBxHIIQQ")
"""TRACE_GUID_INFO, TRACE_PROVIDER_INSTANCE_INFO and TRACE_ENABLE_INFO of evntrace.h: 8, 16 and 32 bytes."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a session records, and where it goes: to a consumer, or into *file*.

    *kernel_logger* is for a system logger session; otherwise the provider is Microsoft-Windows-Kernel-Process.
    """

    kernel_logger: bool = False
    file: Path | None = None

    def mode(self, *, milliseconds: bool) -> int:
        """Return the LogFileMode."""
        # One stream of buffers for all processors: the events come nearly in order. A file is sorted when it is
        # read, so there each processor may have its own.
        mode = _REAL_TIME | _ONE_STREAM if self.file is None else _SEQUENTIAL_FILE
        if self.kernel_logger:
            mode |= _SYSTEM_LOGGER
        return mode | _MILLISECOND_FLUSH if milliseconds else mode


class State(NamedTuple):
    """What Windows tells of a session: what it has lost so far, and whether it still listens to the kernel."""

    events_lost: int
    buffers_lost: int
    logger_id: int
    enable_flags: int


class Session:
    """One session of our own under *name*; `start` it, and `stop` it in any case."""

    def __init__(self, name: str, plan: Plan) -> None:
        self.name = name
        self.plan = plan
        self._api = pw.load()
        self.flushes = True
        """Whether Windows flushes it by itself every FLUSH_MILLISECONDS; a file gets full buffers alone."""
        self.tells = False
        """Whether Windows tells what is enabled in it: where it did not at the start, it tells nothing later."""
        self._provider: Any = None
        self._kept: Any = None

    def start(self) -> None:
        """Start the session and what it records; when that fails, nothing stays behind.

        Raises NotElevatedError, NoSessionLeftError or SystemCallError.
        """
        live = self.plan.file is None
        try:
            self._start(milliseconds=live)
        except OSError as error:
            if not live or error.winerror != pw.ERROR_INVALID_PARAMETER:  # type: ignore[attr-defined,unused-ignore]
                self._failed(error)
            self.flushes = False
            try:
                self._start(milliseconds=False)
            except OSError as second:
                self._failed(second)
        with contextlib.suppress(LiveError):
            self.tells = self._is_enabled(self.query())

    def _start(self, *, milliseconds: bool) -> None:
        """Let pywintrace start the session; it raises OSError."""
        properties = self._properties(milliseconds=milliseconds)
        providers = [] if self.plan.kernel_logger else [self._kernel_process()]
        self._provider = self._api.etw.EventProvider(self.name, properties, providers)
        try:
            self._provider.start()
        except OSError:
            if self._provider.session_handle.value:
                self._control(pw.CONTROL_STOP)
                if self.plan.file is not None:
                    with contextlib.suppress(OSError):
                        self.plan.file.unlink()
            raise

    def _failed(self, error: OSError) -> None:
        pw.fail(f"starting the session {self.name}", error.winerror)  # type: ignore[attr-defined,unused-ignore]

    def capture_state(self) -> bool:
        """Ask the provider for the processes there are, as ProcessRundown events; return whether it will tell.

        A system logger session lists them by itself.
        """
        if pw.build() < _FIRST_WITH_RUNDOWN:
            return False
        provider = self._kernel_process()
        return not self._api.evntrace.EnableTraceEx2(
            self._provider.session_handle, ctypes.byref(provider.guid), _CAPTURE_STATE,
            provider.level, provider.any_bitmask, provider.all_bitmask, 0, None,
        )  # fmt: skip

    def query(self) -> State:
        """Return the session's state. Raises SessionGoneError where somebody has stopped it."""
        return self._checked("asking for", pw.CONTROL_QUERY)

    def flush(self) -> None:
        """Let Windows deliver what its buffers hold. Raises SessionGoneError."""
        self._checked("flushing", pw.CONTROL_FLUSH)

    def stop(self) -> State:
        """Stop the session, which flushes it, and return its last state. Raises SessionGoneError."""
        return self._checked("stopping", pw.CONTROL_STOP)

    def listens(self, state: State) -> bool:
        """Whether what the session is to record is still enabled in it, as far as Windows tells."""
        return not self.tells or self._is_enabled(state)

    def _is_enabled(self, state: State) -> bool:
        if self.plan.kernel_logger:
            return state.enable_flags & _FLAGS == _FLAGS
        return state.logger_id in enabled_in(_provider_info())

    def _checked(self, doing: str, code: int) -> State:
        status, state = self._control(code)
        if status:
            pw.fail(f"{doing} the session {self.name}", status, self.name)
        return state

    def _control(self, code: int) -> tuple[int, State]:
        # By its name, which is ours alone: Windows gives the number of a session that was stopped to another one.
        # The properties are kept because ETW.query() of pywintrace drops the status.
        properties = _answer(self._api)
        status = self._api.evntrace.ControlTraceW(0, self.name, properties.get(), code)
        told = properties.get().contents
        lost = told.RealTimeBuffersLost + told.LogBuffersLost
        return status, State(told.EventsLost, lost, told.Wnode.HistoricalContext & 0xFFFF, told.EnableFlags)

    def _properties(self, *, milliseconds: bool) -> Any:  # noqa: ANN401 (pywintrace has no types)
        properties = self._api.etw.TraceProperties(BUFFER_KIB, _NAME_LENGTH, FEWEST_BUFFERS, MOST_BUFFERS)
        contents = properties.get().contents
        contents.Wnode.ClientContext = _QPC
        contents.LogFileMode = self.plan.mode(milliseconds=milliseconds)
        if self.plan.file is None:  # a file has room for a full buffer, however little is flushed into it
            contents.FlushTimer = FLUSH_MILLISECONDS if milliseconds else 1
        if self.plan.kernel_logger:
            contents.EnableFlags = _FLAGS
        if self.plan.file is not None:
            # Behind the structure pywintrace leaves room for two names; the second is the file's.
            contents.LogFileNameOffset = contents.LoggerNameOffset + _WCHAR * _NAME_LENGTH
            name = str(self.plan.file.absolute())
            ctypes.memmove(
                ctypes.addressof(contents) + contents.LogFileNameOffset,
                ctypes.create_unicode_buffer(name, _NAME_LENGTH),
                _WCHAR * _NAME_LENGTH,
            )
        return properties

    def _kernel_process(self) -> Any:  # noqa: ANN401
        """Return the provider with a filter, so that no other event ever reaches a buffer."""
        prov, etw = self._api.evntprov, self._api.etw
        ids = prov.EVENT_FILTER_EVENT_ID(1, MANIFEST_IDS)
        size = ctypes.sizeof(prov.EVENT_FILTER_EVENT_ID) + len(MANIFEST_IDS) * ctypes.sizeof(ctypes.c_ushort)
        descriptor = prov.EVENT_FILTER_DESCRIPTOR(ctypes.addressof(ids.get().contents), size, _EVENT_ID_FILTER)
        self._kept = ids  # which the descriptor only points at
        parameters = etw.ProviderParameters(0, [descriptor]).get()
        guid = pw.guid(KERNEL_PROCESS)
        return etw.ProviderInfo("Microsoft-Windows-Kernel-Process", guid, _LEVEL, _KEYWORDS, 0, parameters)


def _answer(api: pw.Pywintrace) -> Any:  # noqa: ANN401
    """Return properties for Windows to fill, with room for both names: without it, a file's name is an error."""
    properties = api.etw.TraceProperties(max_str_len=_NAME_LENGTH)
    contents = properties.get().contents
    contents.LogFileNameOffset = contents.LoggerNameOffset + _WCHAR * _NAME_LENGTH
    return properties


def names() -> list[str]:
    """Return the names of all sessions that Windows lets us see. Raises LiveError."""
    api = pw.load()
    count = ctypes.c_ulong(_USUAL_MOST)
    status = pw.ERROR_MORE_DATA
    while status == pw.ERROR_MORE_DATA:
        tables = [_answer(api) for _ in range(count.value)]
        pointers = (ctypes.c_void_p * len(tables))(*(ctypes.addressof(table.get().contents) for table in tables))
        status = pw.advapi32().QueryAllTracesW(pointers, len(tables), ctypes.byref(count))
    if status:
        pw.fail("listing the sessions", status)
    found = (table.get().contents for table in tables[: count.value])
    return [ctypes.wstring_at(ctypes.addressof(each) + each.LoggerNameOffset) for each in found]


def most() -> int:
    """Return how many sessions this machine has room for."""
    answer, size = ctypes.c_ulong(_USUAL_MOST), ctypes.c_ulong()
    query = getattr(pw.advapi32(), "TraceQueryInformation", None)  # which Wine has not
    if query is not None:  # a Windows that does not know leaves the answer as it is
        no_session = ctypes.c_ulonglong(0)
        size_of_answer = ctypes.sizeof(answer)
        query(no_session, _TRACE_MAX_LOGGERS_QUERY, ctypes.byref(answer), size_of_answer, ctypes.byref(size))
    return answer.value


def stop_by_name(name: str) -> None:
    """Stop the session *name*, should it still be there. Raises LiveError."""
    api = pw.load()
    status = api.evntrace.ControlTraceW(0, name, _answer(api).get(), pw.CONTROL_STOP)
    if status not in (0, pw.ERROR_WMI_INSTANCE_NOT_FOUND):
        pw.fail(f"stopping the session {name}", status)


def enabled_in(info: bytes) -> set[int]:
    """Return the ids of the sessions that have a provider enabled with our keywords.

    *info* is its TRACE_GUID_INFO, as EnumerateTraceGuidsEx gives it; empty for a provider that is not registered.
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
    """Return the TRACE_GUID_INFO of Microsoft-Windows-Kernel-Process; empty where it is not registered."""
    query = getattr(pw.advapi32(), "EnumerateTraceGuidsEx", None)
    if query is None:  # Wine has no such function, and no provider
        return b""
    size = ctypes.c_ulong(4096)
    while True:
        answer = ctypes.create_string_buffer(size.value)
        status = query(
            _TRACE_GUID_QUERY_INFO, KERNEL_PROCESS, len(KERNEL_PROCESS), answer, len(answer), ctypes.byref(size)
        )
        if status == pw.ERROR_WMI_GUID_NOT_FOUND:
            return b""
        if status == 0:
            return answer.raw[: size.value]
        if status != pw.ERROR_INSUFFICIENT_BUFFER:
            pw.fail("asking for the provider Microsoft-Windows-Kernel-Process", status)
