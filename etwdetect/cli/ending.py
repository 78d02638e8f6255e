"""How a command ends early: by its user, or because nobody reads its output any more."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

_STOPPING_SIGNALS: Final = ("SIGINT", "SIGTERM", "SIGBREAK")
"""Ctrl+C, a polite kill, and Windows' own: Ctrl+Break."""

# What a pipe gives whose reader is gone; on Windows it is the second.
_BROKEN_PIPE: Final = frozenset((errno.EPIPE, errno.EINVAL))


@contextlib.contextmanager
def on_interruption(stop: Callable[[], object]) -> Iterator[None]:
    """Call *stop* when the user asks for an end; asked again, Python ends at once."""
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
        yield
    finally:
        restore()


def is_broken_pipe(error: OSError) -> bool:
    """Whether *error*, of a write to standard output, means that its reader is gone."""
    return error.errno in _BROKEN_PIPE


def close_quietly() -> None:
    """Keep the interpreter from complaining, at its end, that standard output can't be written any more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
