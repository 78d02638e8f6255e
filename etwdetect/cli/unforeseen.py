"""Errors that nobody foresaw: each ends in one sentence, and in a traceback only where `--debug` asks for it."""

from __future__ import annotations

import threading
from typing import Any

import click

from etwdetect.cli.stdio import say, tell
from etwdetect.results.wording import printable


class _Debugging:
    """Whether tracebacks are shown, for the command that runs."""

    on = False


def sentence(error: BaseException, name: str = "") -> str:
    """Return the line about *error*, met while the input *name* was read; print its traceback with --debug.

    The frames that it came through are emptied: what they hold may be what there is no memory for.
    """
    import traceback  # noqa: PLC0415 (lazy import: fast start-up)

    if _Debugging.on:
        tell("".join(traceback.format_exception(error)).rstrip())
    traceback.clear_frames(error.__traceback__)
    if isinstance(error, MemoryError):
        what = "there is not enough memory"
    else:
        what = f"an error that etwdetect does not foresee ({type(error).__name__}: {_short(error)})"
    where = f"{name}: " if name else ""
    return printable(
        f"{where}{what}; please report it on the page of the repository, under Security, with what --debug shows"
    )


def _short(error: BaseException) -> str:
    text = str(error)
    return text if len(text) <= 200 else f"{text[:200]} …"


def begin() -> None:
    """Forget --debug of a command before, and have an error that ends a thread told in the same way."""
    _Debugging.on = False
    threading.excepthook = _of_thread


def _of_thread(arguments: threading.ExceptHookArgs) -> None:
    if arguments.exc_value is not None:
        say(sentence(arguments.exc_value, arguments.thread.name if arguments.thread else ""))


def debug_option() -> click.Option:
    """Return --debug."""

    def turn_on(_context: click.Context, _parameter: click.Parameter, value: Any) -> None:  # noqa: ANN401
        _Debugging.on |= bool(value)

    text = "Show the traceback of an error that is not foreseen."
    return click.Option(["--debug"], is_flag=True, expose_value=False, is_eager=True, callback=turn_on, help=text)
