"""How a command ends early: by its user, or because nobody reads its output any more."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

_CLOSING_EVENTS: Final = frozenset((2, 5, 6))
"""CTRL_CLOSE_EVENT, CTRL_LOGOFF_EVENT and CTRL_SHUTDOWN_EVENT, of which Python makes no signals."""

_MORE_THAN_WINDOWS_WAITS: Final = 60.0

_STOPPING_SIGNALS: Final = ("SIGINT", "SIGTERM", "SIGBREAK")
"""Ctrl+C, a polite kill, and Windows' own: Ctrl+Break."""

# What a pipe gives whose reader is gone; on Windows it is the second.
_BROKEN_PIPE: Final = frozenset((errno.EPIPE, errno.EINVAL))


@contextlib.contextmanager
def on_interruption(stop: Callable[[], object]) -> Iterator[None]:
    """Call *stop* when the user asks for an end, also by closing the console; asked again, Python ends at once."""
    before = {
        number: signal.getsignal(number)
        for name in _STOPPING_SIGNALS
        if (number := getattr(signal, name, None)) is not None
    }

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def catch(_number: int, _frame: FrameType | None) -> None:
        restore()
        stop()

    for number in before:
        signal.signal(number, catch)
    try:
        with _on_console_close(stop):
            yield
    finally:
        restore()


@contextlib.contextmanager
def _on_console_close(stop: Callable[[], object]) -> Iterator[None]:
    """Call *stop* when the console is closed, and leave the program the five seconds that Windows gives it."""
    if sys.platform != "win32":
        yield
        return

    def handle(event: int) -> bool:
        if event not in _CLOSING_EVENTS:
            return False
        stop()
        # Windows ends the process as soon as this returns; the main thread ends it before, when it is done.
        time.sleep(_MORE_THAN_WINDOWS_WAITS)
        return True

    handler = ctypes.WINFUNCTYPE(ctypes.c_int, ctypes.c_ulong)(handle)
    ctypes.windll.kernel32.SetConsoleCtrlHandler(handler, True)  # noqa: FBT003 (Windows' signature)
    try:
        yield
    finally:
        ctypes.windll.kernel32.SetConsoleCtrlHandler(handler, False)  # noqa: FBT003


def is_broken_pipe(error: OSError) -> bool:
    """Whether *error*, of a write to standard output, means that its reader is gone."""
    return error.errno in _BROKEN_PIPE


def close_quietly() -> None:
    """Keep the interpreter from complaining, at its end, that standard output can't be written any more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
