"""The command line: one module per command, loaded when it is called."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Final

import click

import etwdetect
from etwdetect.cli.ending import close_quietly, is_broken_pipe
from etwdetect.cli.status import Status
from etwdetect.errors import EtwDetectError, MissingExtraError, NotElevatedError, UnsupportedSystemError
from etwdetect.output.escape import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS: Final = (
    "doctor",
    "driver",
    "events",
    "explain",
    "fleet",
    "monitor",
    "parity",
    "record",
    "report",
    "scan",
)
"""Each is the `command` of the module of its name in this package, and returns a Status."""


class _Commands(click.Group):
    """Knows its commands by name and imports the one that is called: a small trace is scanned at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"etwdetect.cli.{cmd_name}").command
        return command

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except OSError as error:
            return _unwritten(error)  # click would end the process with status 1 where nobody reads any more


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(etwdetect.__version__, prog_name="etwdetect")
def _etwdetect() -> None:
    """Find threads that one Windows process creates in another, without a driver."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line *argv* (sys.argv's by default) and return its exit status."""
    for stream in (sys.stdout, sys.stderr):
        # Names from a trace may hold what a terminal's encoding has no bytes for.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        status = _etwdetect.main(argv, prog_name="etwdetect", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return Status.USAGE if isinstance(error, click.UsageError) else Status.ERROR
    except (click.Abort, KeyboardInterrupt):
        return Status.ERROR
    except EtwDetectError as error:
        say(printable(str(error)))
        return _status_of(error)
    except OSError as error:
        return _unwritten(error)
    return int(status or Status.DONE)


def _unwritten(error: OSError) -> Status:
    """Tell of *error*, of a write to standard output; those of files are told by the commands."""
    if error.filename is not None:
        raise error
    close_quietly()
    if is_broken_pipe(error):
        return Status.DONE
    say(f"the result cannot be written: {error.strerror}")
    return Status.ERROR


def _status_of(error: EtwDetectError) -> Status:
    match error:
        case NotElevatedError():
            return Status.NOT_ELEVATED
        case UnsupportedSystemError() | MissingExtraError():
            return Status.NOT_POSSIBLE
    return Status.ERROR


def say(line: str) -> None:
    """Print one line on standard error."""
    click.echo(f"etwdetect: {line}", err=True)
