"""Options that several commands share."""

from __future__ import annotations

import functools
import os
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from etwdetect.core import filetime
from etwdetect.enrich.kind_rules import SEVERITIES
from etwdetect.offline.inputs import is_called_input
from etwdetect.results.filters import Filter
from etwdetect.results.formats import FORMATS
from etwdetect.results.sinks import FORMS
from etwdetect.results.whole_file import WholeFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import TextIO

    _Command = Callable[..., Any]
    _Decorator = Callable[[_Command], _Command]

FILTERS: Final = ("since", "until", "pid", "source_pid", "target_pid", "min_severity")
"""What `make_filter` takes from the command line."""

_MOST_SECONDS: Final = 31_536_000.0
"""A year."""


class _Path(click.Path):
    """A path that is not empty, as that of a variable without a value is: Python would take it for the folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401
        if not value:
            self.fail("the path is empty", param, ctx)
        return super().convert(value, param, ctx)


class _OutputPath(_Path):
    """The path of a file to write, or None for ``-``, which is standard output."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401
        return None if value == "-" else super().convert(value, param, ctx)


INPUT_PATH: Final = _Path(readable=False, path_type=Path)
"""The type of an input's path. Readability is checked when it is opened, so that one bad input stops no other."""
OUTPUT_PATH: Final = _OutputPath(dir_okay=False, path_type=Path)
"""The type of the path of a file to write."""

_PID: Final = click.IntRange(0, 0xFFFFFFFF)


class TraceChoices(NamedTuple):
    """The values of `trace_options`: whether to *join* traces and tell their *hash*, and their *host*'s name.

    With *verbose* all are named that can't show a remote thread.
    """

    join: bool = False
    host: str | None = None
    hash: bool = False
    verbose: bool = False


class _Moment(click.ParamType[datetime]):
    """A point in time in ISO 8601 form; without a zone it is local, or UTC with --utc."""

    name = "time"

    def convert(self, value: str | datetime, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a time such as 2026-11-23T13:08:15.280", param, ctx)


class _Seconds(click.ParamType[float]):
    """A number of seconds above 0, for an option whose value may be left out."""

    name = "seconds"

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            seconds = float(value)
        except ValueError:
            self.fail(f"{value!r} is not a number of seconds; put --fold last, or write --fold=60", param, ctx)
        if not 0 < seconds < _MOST_SECONDS:  # also false for NaN
            self.fail(f"{value} is not between 0 and {_MOST_SECONDS:,}", param, ctx)
        return seconds


def privacy_options(*, default: bool = True) -> _Decorator:
    """Return what adds --no-command-lines and --no-users, and their opposites; *default* is what holds without."""
    verb = "Leave out" if default else "Write"
    folders = "user names, SIDs and the names of users' folders"
    users = click.option("--users/--no-users", default=default, help=f"{verb} {folders}.")
    command_lines = click.option(
        "--command-lines/--no-command-lines", default=default, help=f"{verb} command lines."
    )
    return lambda command: command_lines(users(command))


def output_options(command: _Command) -> _Command:
    """Add the options about the output, the receivers, Sigma rules and privacy."""
    found = "End with status 10, or 11 if incomplete, on any remote thread."
    options: tuple[_Decorator, ...] = (
        privacy_options(),
        click.option(
            "--fold",
            type=_Seconds(),
            is_flag=False,
            flag_value=60.0,
            metavar="[SECONDS]",
            help="Fold repeats of the same source, target and start within SECONDS (60) into one.",
        ),
        click.option(
            "--sigma",
            type=click.Path(exists=True, path_type=Path),
            multiple=True,
            metavar="RULES",
            help="Name the Sigma rules that match: a rule file or a directory; may be repeated.",
        ),
        click.option("--min-level", type=click.Choice(SEVERITIES), help="Use Sigma rules of this level or above."),
        click.option(
            "--keep-severity",
            is_flag=True,
            help="Don't raise a severity to the level of a Sigma rule that matches.",
        ),
        click.option("--to", multiple=True, metavar="URL", help=f"Also send the results to URL: {FORMS}."),
        click.option("--exit-code", is_flag=True, help=found),
        click.option("--stacks", is_flag=True, help="Show call stacks in the text format; live, ask for them."),
        click.option("--utc", is_flag=True, help="Show and take times in UTC instead of local time."),
        click.option("--output", "-o", type=OUTPUT_PATH, help="Write to a file."),
        click.option(
            "--format",
            "form",
            type=click.Choice(FORMATS),
            default="text",
            show_default=True,
            help="The output format.",
        ),
    )
    return _all(options, command)


def trace_options(command: _Command) -> _Command:
    """Add the options about traces to *command*, which gets them as one argument: `choices`, a TraceChoices."""

    @functools.wraps(command)
    def with_choices(*arguments: Any, **values: Any) -> Any:  # noqa: ANN401 (any command)
        choices = TraceChoices(**{name: values.pop(name) for name in TraceChoices._fields})
        return command(*arguments, choices=choices, **values)

    options: tuple[_Decorator, ...] = (
        click.option("--verbose", "-v", is_flag=True, help="Name each trace that can't show a remote thread."),
        click.option("--hash", is_flag=True, help="Add the SHA-256 of each trace."),
        click.option("--host", metavar="NAME", help="The machine of the traces, in place of its name in them."),
        click.option("--join", is_flag=True, help="Take the traces for consecutive files of one session."),
    )
    return _all(options, with_choices)


jobs_option: Final = click.option(
    "--jobs",
    "-j",
    type=click.IntRange(min=1),
    metavar="NUMBER",
    help="How many traces to scan at once; by default as many as there are cores.",
)
"""Adds --jobs to a command: None where it is not given."""


def filter_options(command: _Command) -> _Command:
    """Add the options that choose what is shown; `make_filter` takes their values."""
    options: tuple[_Decorator, ...] = (
        click.option(
            "--min-severity", type=click.Choice(SEVERITIES), help="Show those of this severity or above."
        ),
        click.option("--target-pid", type=_PID, multiple=True, help="Show those in this process."),
        click.option("--source-pid", type=_PID, multiple=True, help="Show those made by this process."),
        click.option("--pid", type=_PID, multiple=True, help="Show those with this process on either side."),
        click.option("--until", type=_Moment(), help="Show what came before this time (ISO 8601)."),
        click.option("--since", type=_Moment(), help="Show what came at this time or later (ISO 8601)."),
    )
    return _all(options, command)


def _all(options: tuple[_Decorator, ...], command: _Command) -> _Command:
    for decorate in options:
        command = decorate(command)
    return command


def make_filter(  # noqa: PLR0913, PLR0917 (one parameter an option)
    since: datetime | None,
    until: datetime | None,
    pid: Sequence[int],
    source_pid: Sequence[int],
    target_pid: Sequence[int],
    min_severity: str | None,
    *,
    utc: bool,
) -> Filter:
    """Return the filter for the values of `filter_options`."""
    return Filter(
        _filetime(since, utc=utc),
        _filetime(until, utc=utc),
        frozenset(pid),
        frozenset(source_pid),
        frozenset(target_pid),
        min_severity,
    )


def _filetime(moment: datetime | None, *, utc: bool) -> int | None:
    if moment is None:
        return None
    if moment.tzinfo is None:
        try:
            moment = moment.replace(tzinfo=UTC) if utc else moment.astimezone()
        except (OSError, OverflowError, ValueError) as error:
            raise click.UsageError(f"{moment} cannot be converted on this machine: give a time zone") from error
    return filetime.from_datetime(moment)


def open_output(output: Path, *, live: bool = False) -> TextIO:
    """Open *output* for UTF-8 text, a WholeFile unless *live*; UsageError where it can't be written."""
    try:
        return output.open("w", encoding="utf-8", newline="") if live else WholeFile(output)
    except OSError as error:
        raise click.UsageError(f"--output {output} cannot be written: {error.strerror}") from error


def check_output(output: Path, inputs: Iterable[Path], option: str = "--output", *, folders: bool = True) -> None:
    """Raise UsageError where *output*, given with *option*, is one of the *inputs*, or would be in the next run.

    That is a file in a directory among them that is called like an input; not so without *folders*.
    """
    there = _stat(output)
    for each in dict.fromkeys(inputs):
        found = _stat(each)
        if found is None:
            continue
        if there is not None and os.path.samestat(there, found):
            raise click.UsageError(f"{option} {output} is one of the inputs")
        if folders and stat.S_ISDIR(found.st_mode) and is_called_input(output) and _is_in(output, each):
            what = f"{option} {output} would be an input of the next run over {each}"
            raise click.UsageError(f"{what}: choose another name or folder")


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:  # it is missing or not accessible
        return None


def _is_in(path: Path, folder: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))
