"""How a user ends a command early."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from typing import TYPE_CHECKING, Final

if sys.platform == "win32":
    from etwdetect.windows import console

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

_CTRL_BREAK: Final = 1
_CLOSING_EVENTS: Final = frozenset((2, 6))
"""CTRL_CLOSE_EVENT and CTRL_SHUTDOWN_EVENT."""

_LOGOFF: Final = 5
"""CTRL_LOGOFF_EVENT: only services get it, whenever any user logs off."""

_LONGER_THAN_WINDOWS_WAITS: Final = 60.0

_STOPPING_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
"""Ctrl+C and a plain kill."""


@contextlib.contextmanager
def on_interruption(stop: Callable[[], object]) -> Iterator[None]:
    """Call *stop* at Ctrl+C, kill or the closing of the console; a second Ctrl+C ends Python at once."""
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
def shielded_processes() -> Iterator[None]:
    """Keep Ctrl+C, which goes to all processes of a terminal, from the processes that are started meanwhile.

    A process that ignores it by itself must have imported its modules before.
    """
    if sys.platform == "win32":
        with console.ctrl_c_ignored():
            yield
    else:
        from multiprocessing import resource_tracker  # noqa: PLC0415 (lazy import: few commands start processes)

        resource_tracker.ensure_running()  # it unblocks SIGINT, and would be started with the first process
        before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _on_console_event(stop: Callable[[], object]) -> Iterator[None]:
    """Call *stop* on console events of Windows: the first Ctrl+Break, and closing the console.

    Ignore user logoff: the default handler would end the program.
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
            # Windows ends the process when this returns, or after five seconds; the main thread ends it before.
            time.sleep(_LONGER_THAN_WINDOWS_WAITS)
        return True

    if sys.platform == "win32":
        handler = console.add_handler(handle)
        try:
            yield
        finally:
            # Windows holds a lock while a handler runs: removing it then would deadlock.
            if handled.isdisjoint(_CLOSING_EVENTS):
                console.remove_handler(handler)
    else:
        yield
