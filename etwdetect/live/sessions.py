"""All sessions of the machine: their names, their limit, who enabled the provider; and stopping one by name."""

from __future__ import annotations

import ctypes
import struct
from typing import TYPE_CHECKING, Any, Final

from etwdetect.core.raw import KERNEL_PROCESS
from etwdetect.live import errors
from etwdetect.live import pywintrace as pw
from etwdetect.live.settings import KEYWORDS, LEVEL
from etwdetect.windows import libraries, tracing

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME_LENGTH: Final = 1024
"""The most UTF-16 code units in the name of a session or of a trace file, with the NUL."""

WCHAR: Final = 2
_USUAL_MOST: Final = 64
"""The limit of sessions, unless EtwMaxLoggers of the registry changes it (Windows 10 and later)."""
_TRACE_GUID_QUERY_INFO: Final = 1
_TRACE_MAX_LOGGERS_QUERY: Final = 19

_GUID_INFO = struct.Struct("<II")
_INSTANCE = struct.Struct("<IIII")
_ENABLE = struct.Struct("<IBxHIIQQ")
"""TRACE_GUID_INFO, TRACE_PROVIDER_INSTANCE_INFO and TRACE_ENABLE_INFO of evntrace.h: 8, 16 and 32 bytes."""


def answer() -> Any:  # noqa: ANN401 (pywintrace has no types)
    """Return properties to be filled by Windows, with space for both names: a file's name needs it."""
    properties = pw.load().etw.TraceProperties(max_str_len=NAME_LENGTH)
    contents = properties.get().contents
    contents.LogFileNameOffset = contents.LoggerNameOffset + WCHAR * NAME_LENGTH
    return properties


def names() -> list[str]:
    """Return the names of all sessions visible to this user. Raises NotElevatedError or SystemCallError."""
    count = ctypes.c_ulong(_USUAL_MOST)
    status = libraries.ERROR_MORE_DATA
    while status == libraries.ERROR_MORE_DATA:
        tables = [answer() for _ in range(count.value)]
        pointers = (ctypes.c_void_p * len(tables))(*(ctypes.addressof(table.get().contents) for table in tables))
        status = tracing.advapi32().QueryAllTracesW(pointers, len(tables), ctypes.byref(count))
    if status:
        raise errors.failure("listing the sessions", status)
    found = (table.get().contents for table in tables[: count.value])
    return [ctypes.wstring_at(ctypes.addressof(each) + each.LoggerNameOffset) for each in found]


def most() -> int:
    """Return the limit of sessions of this machine."""
    limit, size = ctypes.c_ulong(_USUAL_MOST), ctypes.c_ulong()
    query = getattr(tracing.advapi32(), "TraceQueryInformation", None)  # missing in Wine
    if query is not None:  # an old Windows leaves the answer unchanged
        no_session = ctypes.c_ulonglong(0)
        size_of_answer = ctypes.sizeof(limit)
        query(no_session, _TRACE_MAX_LOGGERS_QUERY, ctypes.byref(limit), size_of_answer, ctypes.byref(size))
    return limit.value


def stop_by_name(name: str) -> None:
    """Stop the session *name* if it still exists. Raises NotElevatedError or SystemCallError."""
    status = pw.load().evntrace.ControlTraceW(0, name, answer().get(), pw.CONTROL_STOP)
    if status not in (0, libraries.ERROR_WMI_INSTANCE_NOT_FOUND):
        raise errors.failure(f"stopping the session {name}", status)


def enabled_in(info: bytes) -> set[int]:
    """Return the ids of the sessions in which a provider is enabled with the keywords used here.

    *info* is its TRACE_GUID_INFO from EnumerateTraceGuidsEx; empty for a provider that is not registered.
    """
    return {
        logger_id
        for enabled, level, logger_id, _, _, any_keyword, _ in _enable_infos(info)
        if enabled and level >= LEVEL and any_keyword & KEYWORDS == KEYWORDS
    }


def _enable_infos(info: bytes) -> Iterator[tuple[int, ...]]:
    at = _GUID_INFO.size
    instances = _GUID_INFO.unpack_from(info)[0] if info else 0
    for _ in range(instances):
        next_offset, count, _, _ = _INSTANCE.unpack_from(info, at)
        for number in range(count):
            yield _ENABLE.unpack_from(info, at + _INSTANCE.size + number * _ENABLE.size)
        at += next_offset


def provider_info() -> bytes:
    """Return the TRACE_GUID_INFO of Microsoft-Windows-Kernel-Process; empty if it is not registered."""
    query = getattr(tracing.advapi32(), "EnumerateTraceGuidsEx", None)
    if query is None:  # Wine has neither the function nor the provider
        return b""
    size = ctypes.c_ulong(4096)
    while True:
        found = ctypes.create_string_buffer(size.value)
        status = query(
            _TRACE_GUID_QUERY_INFO, KERNEL_PROCESS, len(KERNEL_PROCESS), found, len(found), ctypes.byref(size)
        )
        if status == libraries.ERROR_WMI_GUID_NOT_FOUND:
            return b""
        if status == 0:
            return found.raw[: size.value]
        if status != libraries.ERROR_INSUFFICIENT_BUFFER:
            raise errors.failure("querying the provider Microsoft-Windows-Kernel-Process", status)
