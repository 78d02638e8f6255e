r"""The Windows event log: each detection as an event with the id 8 in the log Application.

Windows shows the text of events only of registered sources. The first use registers ours, under the key
``HKLM\SYSTEM\CurrentControlSet\Services\EventLog\Application``, with EventCreate.exe of Windows as the message
file, whose text is "%1": the event's one string. Without the right to register it, events are still written, and
the Event Viewer puts a remark before them. A registered source is not changed.
"""

from __future__ import annotations

import ctypes
import re
import sys
from ctypes import POINTER, wintypes
from typing import TYPE_CHECKING, Any, Final

from etwdetect.results.record import to_dict
from etwdetect.results.wording import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from etwdetect.enrich.detection import Detection

EVENT_ID: Final = 8
"""Sysmon's number for the same event; EventCreate.exe has a text for 1 to 1000."""

_KEY: Final = r"SYSTEM\CurrentControlSet\Services\EventLog\Application"
_MESSAGES: Final = r"%SystemRoot%\System32\EventCreate.exe"

_INFORMATION, _WARNING = 4, 2
_WARNED_OF: Final = frozenset(("medium", "high"))

_INSERTION: Final = re.compile(r"%(?=[0-9%])")
"""What the Event Viewer would replace, even within an event's string."""

_MAX_CHARACTERS: Final = 28_000
"""How much text an event can have: Windows allows 31,839 characters a string, and about 60,000 bytes in all."""
_MAX_VALUE: Final = 600
"""How many characters a value keeps in an event that would be too long; 40 of them fit."""
_MAX_NAME: Final = 200


class EventLogTransport:
    """Reports events of *source*; ValueError where that is not a valid name."""

    batch = 1

    def __init__(self, source: str) -> None:
        if "\\" in source or not source.isprintable() or len(source) > _MAX_NAME:
            raise ValueError(f"a source must be at most {_MAX_NAME} printable characters without a backslash")
        self.name = f"eventlog:{source}"
        self._source = source
        self._handle: int | None = None

    def message(self, detection: Detection) -> bytes:
        """Return the event: its type, and the text."""
        kind = _WARNING if detection.severity in _WARNED_OF else _INFORMATION
        text = event_text(detection)
        if len(text) > _MAX_CHARACTERS:
            text = event_text(detection, _MAX_VALUE)
        return bytes([kind]) + text.encode("utf-16-le")

    def send(self, messages: Sequence[bytes]) -> None:
        """Report the events."""
        if sys.platform == "win32":
            if self._handle is None:
                self._handle = _register(self._source)
            for message in messages:
                _report(self._handle, message[0], message[1:].decode("utf-16-le"))

    def close(self) -> None:
        """Close the log."""
        if sys.platform == "win32" and self._handle is not None:
            _library().DeregisterEventSource(self._handle)
            self._handle = None


def event_text(detection: Detection, most: int | None = None) -> str:
    """Return the fields of *detection*, a line each, as in Sysmon's events; values cut to *most* characters."""
    lines = ["CreateRemoteThread detected:"]
    lines += [f"{name}: {_value(value, most)}" for name, value in to_dict(detection).items()]
    return "\r\n".join(lines)


def _value(value: Any, most: int | None) -> str:  # noqa: ANN401 (any value that a record can have)
    match value:
        case list():
            text = "; ".join(value)
        case dict():
            text = "; ".join(f"{name}: {why}" for name, why in value.items())
        case _:
            text = str(value)
    text = _INSERTION.sub("% ", printable(text))
    return text if most is None or len(text) <= most else f"{text[: most - 1]}…"


if sys.platform == "win32":
    import contextlib
    import functools
    import winreg

    @functools.cache
    def _library() -> ctypes.WinDLL:
        library = ctypes.WinDLL("advapi32", use_last_error=True, winmode=0x800)  # LOAD_LIBRARY_SEARCH_SYSTEM32
        library.RegisterEventSourceW.restype = wintypes.HANDLE
        library.RegisterEventSourceW.argtypes = (wintypes.LPCWSTR, wintypes.LPCWSTR)
        library.DeregisterEventSource.argtypes = (wintypes.HANDLE,)
        library.ReportEventW.argtypes = (
            wintypes.HANDLE,
            wintypes.WORD,
            wintypes.WORD,
            wintypes.DWORD,
            wintypes.LPVOID,
            wintypes.WORD,
            wintypes.DWORD,
            POINTER(wintypes.LPCWSTR),
            wintypes.LPVOID,
        )
        return library

    def _register(source: str) -> int:
        with contextlib.suppress(PermissionError):  # events are written without it, too
            _register_source(source)
        handle: int | None = _library().RegisterEventSourceW(None, source)
        if handle is None:
            raise ctypes.WinError(ctypes.get_last_error())
        return handle

    def _register_source(source: str) -> None:
        path = rf"{_KEY}\{source}"
        with contextlib.suppress(FileNotFoundError), winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, path):
            return
        with winreg.CreateKey(winreg.HKEY_LOCAL_MACHINE, path) as key:
            winreg.SetValueEx(key, "EventMessageFile", 0, winreg.REG_EXPAND_SZ, _MESSAGES)
            winreg.SetValueEx(key, "TypesSupported", 0, winreg.REG_DWORD, 7)

    def _report(handle: int, kind: int, text: str) -> None:
        strings = (wintypes.LPCWSTR * 1)(text)
        if not _library().ReportEventW(handle, kind, 0, EVENT_ID, None, 1, 0, strings, None):
            raise ctypes.WinError(ctypes.get_last_error())
