"""pywintrace, loaded when a session is wanted, and what the Windows SDK has beside it.

pywintrace has the structures and calls of ETW, and the classes around them that session.py and consumer.py use.
This package keeps clear of its faults; those two modules say where.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import sys
from typing import Any, Final, NamedTuple, NoReturn
from uuid import UUID

from etwdetect.live.errors import (
    NoSessionLeftError,
    NotElevatedError,
    SessionGoneError,
    SystemCallError,
    UnsupportedSystemError,
)

ERROR_ACCESS_DENIED: Final = 5
ERROR_INVALID_PARAMETER: Final = 87
ERROR_INSUFFICIENT_BUFFER: Final = 122
ERROR_MORE_DATA: Final = 234
ERROR_NO_SYSTEM_RESOURCES: Final = 1450
ERROR_WMI_GUID_NOT_FOUND: Final = 4200
ERROR_WMI_INSTANCE_NOT_FOUND: Final = 4201

CONTROL_QUERY: Final = 0
CONTROL_STOP: Final = 1
CONTROL_FLUSH: Final = 3


class Pywintrace(NamedTuple):
    """pywintrace's modules; it has no types."""

    etw: Any
    evntrace: Any
    evntprov: Any
    guid: Any


@functools.cache
def load() -> Pywintrace:
    """Import pywintrace. Raises UnsupportedSystemError elsewhere than on 64-bit Windows."""
    advapi32()
    if ctypes.sizeof(ctypes.c_void_p) != 8:
        raise UnsupportedSystemError("live sessions need a Python for 64-bit Windows")
    # Importing it configures the root logger, which is the program's to do: undone here.
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    from etw import etw, evntprov, evntrace  # noqa: PLC0415
    from etw.GUID import GUID  # noqa: PLC0415

    root.handlers[:] = handlers
    root.setLevel(level)
    return Pywintrace(etw, evntrace, evntprov, GUID)


@functools.cache
def advapi32() -> Any:  # noqa: ANN401 (ctypes makes its attributes on demand)
    """Return the library that pywintrace calls too, for us alone: with prototypes and errors of its own."""
    if sys.platform == "win32":
        return ctypes.WinDLL("advapi32", use_last_error=True)
    raise _not_windows()


def tdh() -> Any:  # noqa: ANN401
    """Return the library that knows the manifests."""
    if sys.platform == "win32":
        return ctypes.windll.tdh
    raise _not_windows()


def guid(provider: bytes) -> Any:  # noqa: ANN401 (pywintrace's GUID)
    """Return the GUID whose 16 bytes *provider* is."""
    return load().guid(f"{{{UUID(bytes_le=provider)}}}")


def build() -> int:
    """Return the build of this Windows."""
    if sys.platform == "win32":
        return sys.getwindowsversion().build
    raise _not_windows()


def _not_windows() -> UnsupportedSystemError:
    return UnsupportedSystemError(f"live sessions are there on Windows alone; this system is {sys.platform}")


def last_error() -> int:
    """Return the Win32 error of this thread's last call of `advapi32`."""
    if sys.platform == "win32":
        return ctypes.get_last_error()
    raise _not_windows()


def fail(doing: str, code: int, name: str = "") -> NoReturn:
    """Raise what the Win32 error *code* means for the session *name*."""
    if code == ERROR_ACCESS_DENIED:
        raise NotElevatedError(doing)
    if code == ERROR_NO_SYSTEM_RESOURCES:
        raise NoSessionLeftError(doing)
    if code == ERROR_WMI_INSTANCE_NOT_FOUND:
        raise SessionGoneError(name)
    if sys.platform == "win32":
        raise SystemCallError(doing, code, ctypes.FormatError(code))
    raise SystemCallError(doing, code, "")
