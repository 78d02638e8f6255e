"""The command line: one module per command, loaded when it is called."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from etwdetect._version import __version__
from etwdetect.cli import stdio, unforeseen
from etwdetect.cli.status import Status, status_of
from etwdetect.cli.stdio import note, say, tell
from etwdetect.core.errors import EtwDetectError
from etwdetect.results.wording import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["COMMANDS", "main", "note", "say", "tell"]

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
    "service",
)
"""Each is the `command` of the module of its name in this package, and returns a Status."""


def _with_common_options(command: click.Command) -> click.Command:
    """Add to *command*, and to the commands in it, the options that all have."""
    names = {each.name for each in command.params}
    command.params += [
        each for each in (stdio.quiet_option(), unforeseen.debug_option()) if each.name not in names
    ]
    if isinstance(command, click.Group):
        for each in command.commands.values():
            _with_common_options(each)
    return command


class _Commands(click.Group):
    """Knows its commands by name and imports the one that is called: a small trace is scanned at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"etwdetect.cli.{cmd_name}").command
        return _with_common_options(command)

    # Both may print, and click would end the program at a broken pipe.
    def make_context(self, *arguments: Any, **options: Any) -> click.Context:  # noqa: ANN401 (click's signature)
        with stdio.writing():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401
        with stdio.writing():
            status = super().invoke(ctx)
            sys.stdout.flush()
        return status


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "--version", "-V", prog_name="etwdetect")
def _etwdetect() -> None:
    """Find threads that one Windows process creates in another, without a driver."""


_with_common_options(_etwdetect)


def main(argv: Sequence[str] | None = None, started: Callable[[], object] | None = None) -> int:
    """Run the command line *argv* (sys.argv's by default) and return its exit status.

    `monitor` calls *started* once it watches.
    """
    stdio.prepare()
    unforeseen.begin()
    try:
        status = _etwdetect.main(argv, prog_name="etwdetect", standalone_mode=False, obj=started)
    except click.ClickException as error:
        with stdio.complaining():
            error.show()
        return Status.USAGE if isinstance(error, click.UsageError) else Status.ERROR
    except (click.Abort, KeyboardInterrupt):
        say("interrupted")
        return Status.ERROR
    except EtwDetectError as error:
        say(printable(str(error)))
        return status_of(error)
    except stdio.OutputEndedError as ended:
        return stdio.conclude(ended)
    except Exception as error:  # noqa: BLE001 (nothing ends in a traceback)
        say(unforeseen.sentence(error))
        return Status.ERROR
    return int(status or Status.DONE)
