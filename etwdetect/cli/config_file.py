"""The configuration file of `monitor`, and of the service that runs it: its options, in TOML.

Each key is an option without its dashes: a value, `true` for one that takes none, a list for one that is repeated.
So every option of `monitor` is one of the file, and a file that an older version took is taken by a newer one.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Final

import click

from etwdetect.core import toml
from etwdetect.core.errors import EtwDetectError

if TYPE_CHECKING:
    from collections.abc import Iterator

_KEY: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_NOT_IN_A_FILE: Final = frozenset(("config", "duration", "help"))

DEFAULT: Final = """\
# What the service etwdetect runs with: options of `etwdetect monitor`, without their dashes. Read at each start.

format = "json"
output = '{folder}\\hits.json'

# Begin a new output at so many megabytes, and keep so many older ones.
rotate = 100
keep = 9

# Repeats of one source, target and start within so many seconds become one record.
fold = 60

# Also to the Windows event log, or to another machine; a list for more than one.
# to = ["eventlog:", "syslog+tcp://collector.example:514"]
"""


class ConfigError(EtwDetectError):
    """The configuration file cannot be read, or says what `monitor` does not take; the message names it."""


def write_default(path: Path) -> None:
    """Write the configuration that a service has at first. Raises OSError."""
    path.write_text(DEFAULT.format(folder=path.parent), "utf-8")


def arguments(path: Path) -> list[str]:
    """Return the file at *path* as arguments of `monitor` for a service, which takes them. Raises ConfigError."""
    found = read(path)
    try:
        _check(found)
    except click.UsageError as error:
        raise ConfigError(f"{path}: {error.format_message()}") from error
    return found


def read(path: Path) -> list[str]:
    """Return the file at *path* as arguments. Raises ConfigError."""
    try:
        document = toml.parse(toml.read(path))
        return [each for key, value in document.items() for each in _option(key, value)]
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path} {error}") from error
    except click.UsageError as error:
        raise ConfigError(f"{path}: {error.format_message()}") from error


def config_option(command: click.Command) -> click.Command:
    """Add --config to *command*: a file with the values of its options, before those of the command line."""

    def load(context: click.Context, _parameter: click.Parameter, path: Path | None) -> None:
        if path is None:
            return
        try:
            values, rest, _ = command.make_parser(context).parse_args(read(path))
        except click.UsageError as error:
            raise ConfigError(f"{path}: {error.format_message()}") from error
        assert not rest, "each argument begins with dashes"
        context.default_map = values

    command.params.append(
        click.Option(
            ["--config"],
            type=click.Path(dir_okay=False, path_type=Path),
            metavar="FILE.toml",
            is_eager=True,
            expose_value=False,
            callback=load,
            help="Take options from this file; those of the command line replace them.",
        )
    )
    return command


def _option(key: str, value: Any) -> Iterator[str]:  # noqa: ANN401 (what TOML can say)
    if not _KEY.fullmatch(key) or key in _NOT_IN_A_FILE:
        raise click.UsageError(f"{key} is no option of a configuration")
    for each in value if isinstance(value, list) else [value]:
        if each is True:
            yield f"--{key}"
        elif isinstance(each, (str, int, float)):
            if each is not False:
                yield f"--{key}={each}"
        else:
            raise click.UsageError(f"{key} must be text, a number, true or false, or a list of these")


def _check(found: list[str]) -> None:
    """Raise click.UsageError unless `monitor` takes these arguments, and every path in them is absolute."""
    from etwdetect.cli.monitor import command  # noqa: PLC0415 (the other commands here need none of it)

    values = command.make_context("monitor", list(found)).params
    for parameter in command.params:
        value = values.get(parameter.name or "")
        for each in value if isinstance(value, tuple) else (value,):
            if isinstance(each, PurePath) and not each.is_absolute():
                raise click.UsageError(f"{(parameter.name or '').replace('_', '-')} must be an absolute path")
    if not values.get("output") and not values.get("to"):
        raise click.UsageError("a service needs an output, or a sink in to")
