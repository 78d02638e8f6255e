"""How a command ends early: by its user, or because nobody reads its output any more."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Final

if sys.platform == "win32":
    from etwdetect.windows import console

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType
    from typing import TextIO

_CTRL_BREAK: Final = 1
_CLOSING_EVENTS: Final = frozenset((2, 6))
"""CTRL_CLOSE_EVENT and CTRL_SHUTDOWN_EVENT."""

_LOGOFF: Final = 5
"""CTRL_LOGOFF_EVENT: services get it, and nobody else, whenever any user logs off."""

_MORE_THAN_WINDOWS_WAITS: Final = 60.0

_STOPPING_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
"""Ctrl+C, and a polite kill."""

# What a pipe gives whose reader is gone; on Windows it is the second.
_BROKEN_PIPE: Final = frozenset((errno.EPIPE, errno.EINVAL))


@contextlib.contextmanager
def on_interruption(stop: Callable[[], object]) -> Iterator[None]:
    """Call *stop* when the user asks for an end, also by closing the console; asked again, Python ends at once."""
    before = {number: signal.getsignal(number) for number in _STOPPING_SIGNALS}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def catch(_number: int, _frame: FrameType | None) -> None:
        restore()
        stop()

    for number in before:
        signal.signal(number, catch)
    try:
        with _on_console_event(stop):
            yield
    finally:
        restore()


@contextlib.contextmanager
def _on_console_event(stop: Callable[[], object]) -> Iterator[None]:
    """Call *stop* on Windows' own events: at the first Ctrl+Break, and when the console is closed.

    The logging off of a user is no end: the default handler might take it for one.
    """
    handled: set[int] = set()

    def handle(event: int) -> bool:
        if event == _LOGOFF:
            return True
        if event in handled or (event != _CTRL_BREAK and event not in _CLOSING_EVENTS):
            return False
        handled.add(event)
        stop()
        if event in _CLOSING_EVENTS:
            # Windows ends the process once this returns, or after five seconds; the main thread does it before.
            time.sleep(_MORE_THAN_WINDOWS_WAITS)
        return True

    if sys.platform == "win32":
        handler = console.add_handler(handle)
        try:
            yield
        finally:
            # Windows holds a lock while a handler runs: this would wait for it.
            if handled.isdisjoint(_CLOSING_EVENTS):
                console.remove_handler(handler)
    else:
        yield


def is_broken_pipe(error: OSError) -> bool:
    """Whether *error*, of a write to standard output, means that its reader is gone."""
    return error.errno in _BROKEN_PIPE


def close_quietly(stream: TextIO) -> None:
    """Send *stream*, which can't be written, nowhere: at its end the interpreter would try again, and complain."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
