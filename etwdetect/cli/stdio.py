"""The standard streams, whatever a caller has made of them."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

from etwdetect.cli.signals import close_quietly
from etwdetect.core.errors import EtwDetectError
from etwdetect.results.wording import printable

if TYPE_CHECKING:
    from collections.abc import Iterator


class OutputEndedError(Exception):
    """Standard output takes no more."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error)
        self.error = error


def prepare() -> None:
    """See that all three are there, and that any text can be written."""
    # In the order of their numbers, because what is opened gets the lowest that is free.
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: PTH123, SIM115 (open to the end)
    if sys.stdout is None:
        # A file for reading: what is written to it is refused, as it would be by the one that was closed.
        sys.stdout = open(os.open(os.devnull, os.O_RDONLY), "w", encoding="utf-8")  # noqa: PTH123, SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):
        # Names from a trace may hold what a terminal's encoding has no bytes for.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def writing() -> Iterator[None]:
    """Raise OutputEndedError where standard output could not be written, and EtwDetectError for any other file.

    Standard output is the one that has no name in the error.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None:
            raise OutputEndedError(error) from error
        raise EtwDetectError(printable(f"{error.filename}: {error.strerror}")) from error


@contextlib.contextmanager
def telling() -> Iterator[None]:
    """Go on without standard error where that can't be written: the results may still be."""
    try:
        yield
    except OSError:
        close_quietly(sys.stderr)
