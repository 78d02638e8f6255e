"""Console control events such as Ctrl+Break; loaded on Windows only."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import sys
from typing import TYPE_CHECKING, Any, Final

from etwdetect.windows.libraries import load_library, not_windows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SUBJECT: Final = "a console control handler"

CTRL_BREAK: Final = 1
CTRL_CLOSE: Final = 2
CTRL_LOGOFF: Final = 5
"""Sent to services only, whenever any user logs off."""
CTRL_SHUTDOWN: Final = 6


def add_handler(handle: Callable[[int], bool]) -> Any:  # noqa: ANN401 (a ctypes callback)
    """Call *handle* with each control event, on a thread of Windows; keep what is returned until removing it.

    *handle* returns True to stop further handling: for CTRL_CLOSE and CTRL_SHUTDOWN Windows then ends the process.
    """
    if sys.platform == "win32":
        handler = ctypes.WINFUNCTYPE(ctypes.c_int, ctypes.c_ulong)(handle)
        _kernel32().SetConsoleCtrlHandler(handler, True)  # noqa: FBT003 (Windows' signature)
        return handler
    raise not_windows(_SUBJECT)


def remove_handler(handler: Any) -> None:  # noqa: ANN401
    """Remove what `add_handler` returned. Waits while a handler runs, because Windows holds a lock then."""
    _kernel32().SetConsoleCtrlHandler(handler, False)  # noqa: FBT003


@contextlib.contextmanager
def ctrl_c_ignored() -> Iterator[None]:
    """Ignore Ctrl+C; processes that are started meanwhile inherit that, and keep it."""
    _kernel32().SetConsoleCtrlHandler(None, True)  # noqa: FBT003
    try:
        yield
    finally:
        _kernel32().SetConsoleCtrlHandler(None, False)  # noqa: FBT003


@functools.cache
def _kernel32() -> ctypes.CDLL:
    return load_library("kernel32", _SUBJECT)
