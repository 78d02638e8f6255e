"""The standard streams, whatever a caller has made of them, and the one way in which an output ends early."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from etwdetect.cli.status import Status
from etwdetect.core.errors import EtwDetectError
from etwdetect.results.errors import OutputError
from etwdetect.results.wording import printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import TextIO

_BROKEN_PIPE: Final = frozenset((errno.EPIPE, errno.EINVAL))
"""What a write to a pipe without a reader raises; on Windows it is the second."""


class OutputEndedError(Exception):
    """The output takes no more; *reason* says why, None where only its reader is gone, which is not an error."""

    def __init__(self, reason: str | None) -> None:
        super().__init__(reason)
        self.reason = reason


class _Notes:
    """Whether notes are printed, for the command that runs."""

    on = True


def quiet_option() -> click.Option:
    """Return --quiet."""

    def turn_off(_context: click.Context, _parameter: click.Parameter, value: Any) -> None:  # noqa: ANN401
        _Notes.on &= not value

    text = "Say only what is wrong on standard error: no counts, no notes."
    names = ["--quiet", "-q"]
    return click.Option(names, is_flag=True, expose_value=False, is_eager=True, callback=turn_off, help=text)


def prepare() -> None:
    """Open the standard streams that are closed, have all of them take any text, and forget a --quiet before.

    What is read by other programs is UTF-8: on Windows, Python would write it in the system's code page.
    """
    _Notes.on = True
    # numpy's BLAS, which is not used here, would start threads with large buffers, and ends the process where it
    # gets no memory for them.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # In the order of their numbers, because what is opened gets the lowest that is free.
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: PTH123, SIM115 (open to the end)
    if sys.stdout is None:
        # Opened for reading, so that writing fails as it would on the closed stream.
        sys.stdout = open(os.open(os.devnull, os.O_RDONLY), "w", encoding="utf-8")  # noqa: PTH123, SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):
        # Names from a trace may have characters that the terminal's encoding lacks.
        if hasattr(stream, "reconfigure"):
            is_chosen = stream.isatty() or "PYTHONIOENCODING" in os.environ
            stream.reconfigure(encoding=None if is_chosen else "utf-8", errors="backslashreplace")


@contextlib.contextmanager
def writing(output: Path | None = None) -> Iterator[None]:
    """Raise OutputEndedError where the file *output*, or standard output if it is None, can't be written.

    An OSError that names a file is not about standard output: it becomes an EtwDetectError.
    """
    try:
        yield
    except OutputError as error:
        raise OutputEndedError(str(error)) from error
    except OSError as error:
        if output is not None:
            raise OutputEndedError(error.strerror or str(error)) from error
        if error.filename is not None:
            raise EtwDetectError(printable(f"{error.filename}: {error.strerror}")) from error
        _redirect_to_null(sys.stdout)
        raise OutputEndedError(None if error.errno in _BROKEN_PIPE else error.strerror or str(error)) from error


def conclude(ended: OutputEndedError) -> Status:
    """Print why the output ended, unless its reader is gone, and return the exit status for it."""
    if ended.reason is None:
        return Status.DONE
    say(f"the result cannot be written: {ended.reason}")
    return Status.ERROR


def say(line: str) -> None:
    """Print one line on standard error, after the program's name."""
    tell(f"etwdetect: {line}")


def note(line: str) -> None:
    """Print one line as `say` does, unless --quiet was given: nothing is wrong where this says something."""
    if _Notes.on:
        say(line)


def tell(line: str) -> None:
    """Print *line* as it is on standard error."""
    with complaining():
        click.echo(line, err=True)


@contextlib.contextmanager
def complaining() -> Iterator[None]:
    """Go on without standard error where it can't be written: the results may still be."""
    try:
        yield
    except OSError:
        _redirect_to_null(sys.stderr)


def _redirect_to_null(stream: TextIO) -> None:
    """Let *stream*, which can't be written, write nowhere: else the interpreter complains when it ends."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
