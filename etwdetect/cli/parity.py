"""etwdetect parity: compare the ETW detector with the KDetector driver.

`compare` is part of the package. `run` and `scenarios` are commands of the parity tests, which are loaded from the
checkout or the unpacked .zip that this package is in.
"""

from __future__ import annotations

import importlib
import sys
import threading
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

import etwdetect
from etwdetect.cli import say
from etwdetect.cli.by_path import import_package
from etwdetect.cli.options import check_output
from etwdetect.cli.signals import on_interruption
from etwdetect.cli.status import Status, of_all
from etwdetect.comparison import report, result_files
from etwdetect.comparison.saved_outputs import Output, compare_outputs, compare_witness_outputs, read_output
from etwdetect.comparison.sysmon_rules import read_rules
from etwdetect.comparison.witnesses import WITNESSES
from etwdetect.core.errors import EtwDetectError, OtherContentError, UnsupportedSystemError
from etwdetect.core.files import encoding_of
from etwdetect.offline.inputs import STANDARD_INPUT, Input, SavedInput, SysmonInput, UnreadInput, find_all
from etwdetect.results.saved import HEAD
from etwdetect.results.whole_file import WholeFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import ModuleType

    from etwdetect.comparison.result import Result

FILE: Final = click.Path(dir_okay=False, path_type=Path)

_OUTPUTS: Final = (2, 3)
_TESTS: Final = "parity_tests"
_OF_THE_TESTS: Final = ("run", "scenarios")
"""The commands of parity_tests.cli."""


class ParityTestsMissingError(UnsupportedSystemError):
    """The parity tests are not part of the installed package: exit status 5."""

    def __init__(self, command: str) -> None:
        """Say that *command* needs the parity tests, and where they are."""
        super().__init__(
            f"parity {command} needs the parity tests, which are not part of the installed package; run it in a "
            "checkout of the etwdetect repository, or with etwdetect.exe from the .zip for Windows"
        )


def tests_folder() -> Path | None:
    """Return the folder of the parity tests, or None if this package is not in a checkout or the unpacked .zip.

    Neither the current folder nor sys.path is searched: the vm bench runs elevated.
    """
    holder = Path(etwdetect.__file__).resolve().parents[1]
    if _is_checkout(holder):
        folder = holder / _TESTS
    elif _is_unpacked_zip(holder):
        folder = holder.parent / _TESTS
    else:
        return None
    return folder if (folder / "__init__.py").is_file() else None


def _is_checkout(folder: Path) -> bool:
    """Return whether *folder* is a checkout; a site-packages folder must not be taken for one."""
    try:
        project = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return bool(project.get("project", {}).get("name") == "etwdetect")


def _is_unpacked_zip(libraries: Path) -> bool:
    """Return whether *libraries* is the folder lib beside the Python of the .zip that runs this."""
    python = libraries.parent / "python" / "python.exe"
    return libraries.name == "lib" and python == Path(sys.executable).resolve()


class _Parity(click.Group):
    """Has the commands of the parity tests besides its own, and imports them when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted((*super().list_commands(ctx), *_OF_THE_TESTS))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _OF_THE_TESTS:
            return super().get_command(ctx, cmd_name)
        try:
            command: click.Command = getattr(_of_the_tests("cli", cmd_name), cmd_name)
        except ParityTestsMissingError:
            return _missing(cmd_name)
        return command


def _of_the_tests(module: str, command: str) -> ModuleType:
    """Return a module of the parity tests, which *command* needs. Raises ParityTestsMissingError."""
    folder = tests_folder()
    if folder is None:
        raise ParityTestsMissingError(command)
    import_package(folder)
    return importlib.import_module(f"{_TESTS}.{module}")


def _missing(name: str) -> click.Command:
    """Return a command that, whatever its arguments, says where the parity tests are."""

    @click.command(
        name,
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
        add_help_option=False,
        short_help="Needs a checkout, or the .zip for Windows.",
    )
    def command() -> None:
        raise ParityTestsMissingError(name)

    return command


@click.group(cls=_Parity)
def command() -> None:
    """Compare the ETW detector with the KDetector driver."""


def report_options(decorated: Callable[..., Status]) -> Callable[..., Status]:
    """Add the options --junit and --json."""
    decorated = click.option("--json", type=FILE, help="Write the results to a file, as JSON.")(decorated)
    return click.option("--junit", type=FILE, help="Write the results to a file, as JUnit XML.")(decorated)


@command.command()
@click.argument("outputs", type=FILE, nargs=-1, metavar="ETW.json DRIVER.json [SYSMON] | EVIDENCE.zip")
@click.option("--sysmon-config", type=FILE, help="Sysmon's configuration, which says what it does not log.")
@report_options
def compare(
    outputs: tuple[Path, ...], sysmon_config: Path | None, junit: Path | None, json: Path | None
) -> Status:
    """Compare outputs that were saved with --format json: one of `scan` or `monitor`, and one of `driver watch`.

    They are read as by `scan`: in UTF-8 or UTF-16, packed or not; one of them can be - for standard input.

    Times are shown but not compared, because they come from two clocks. Records more than 10 ms apart must be in
    the same order.

    SYSMON is what Sysmon reported on the same machine: .evtx, JSON, XML, or saved with --format json. It can also
    stand in the place of one of the others. Its records have no source thread; they are paired by the other ids,
    nearest in time, at most 2 seconds apart.

    Or judge again what `parity run --evidence` wrote on another machine; like `run`, that needs the parity tests.
    """
    check_reports(outputs, junit, json)
    if len(outputs) == 1 and outputs[0].suffix.lower() == ".zip":
        (evidence,) = outputs
        again = list(_of_the_tests("evidence", f"compare {evidence.name}").replay(evidence))
        return of_all(show_results(again, len(again), junit, json), found=False)
    if len(outputs) not in _OUTPUTS:
        missing = "Missing argument 'DRIVER.json'."
        raise click.UsageError(missing if len(outputs) == 1 else "two or three outputs are compared")
    if outputs.count(STANDARD_INPUT) > 1:
        raise click.UsageError("only one output can be - for standard input")
    read = [_output(path) for path in outputs]
    if len(read) == len(WITNESSES) or any(each.detector == "sysmon" for each in read):
        rules = read_rules(sysmon_config) if sysmon_config else None
        result = compare_witness_outputs(read, rules)
    elif sysmon_config:
        raise click.UsageError("--sysmon-config needs an output of Sysmon")
    else:
        result = compare_outputs(*read)
    return of_all(show_results([result], 1, junit, json), found=False)


def _output(path: Path) -> Output:
    """Return the one output at *path*: one that was saved, or a recording of Sysmon. Raises EtwDetectError."""
    name = "standard input" if path == STANDARD_INPUT else path.name
    try:
        all_found = list(find_all(path))
    except OtherContentError as error:
        raise _no_output(error.name) from error
    match all_found:
        case [SavedInput() as found]:
            with found.open() as saved:
                return read_output(saved, name)
        case [SysmonInput() as found]:
            return _of_sysmon(found, name)
        case [Input() as found] if _is_blank(found):
            return Output(name, None, ())
        case [UnreadInput() as found]:
            raise found.error
    if any(isinstance(each, SavedInput | SysmonInput) for each in all_found):
        raise EtwDetectError(f"{path}: holds {len(all_found):,} inputs, and only one can be compared: unpack it")
    raise _no_output(all_found[0].name)


def _of_sysmon(found: SysmonInput, name: str) -> Output:
    """Return what the recording *found* has, as the output *name*, and tell what it says of itself.

    Raises EtwDetectError where etwdetect wrote the recording: its own output would agree with itself.
    """
    with found.open() as recording:
        detections = list(recording.detections())
        for line in (*recording.warnings(), *recording.notes()):
            say(line)
    if recording.of_etwdetect:
        raise EtwDetectError(
            f"{found.name}: etwdetect wrote it in Sysmon's form, so it is no witness; "
            "give what Sysmon itself logged, or save with --format json"
        )
    return Output(name, "sysmon", detections, incomplete=recording.faults > 0)


def _no_output(name: str) -> EtwDetectError:
    """Return the error that the input *name* is no output."""
    return EtwDetectError(
        f"{name}: is no output that was saved with --format json; of a trace or of recorded events, "
        "`etwdetect scan --format json` makes one"
    )


def _is_blank(found: Input) -> bool:
    """Whether *found* is the output of a witness that reported nothing."""
    head, _ = found.place.head(HEAD)
    return len(head) < HEAD and not head.decode(encoding_of(head), "replace").strip()


def check_reports(inputs: Iterable[Path], junit: Path | None, json: Path | None) -> None:
    """Raise click.UsageError if --junit or --json names one of *inputs*."""
    for option, path in (("--junit", junit), ("--json", json)):
        if path is not None:
            check_output(path, inputs, option)


def show_results(results: Iterable[Result], count: int, junit: Path | None, json: Path | None) -> Iterator[Status]:
    """Print each of *results*, of which there are at most *count*, then the details, and write the files.

    Yields a status for each result and for each file that cannot be written. If *results* raises an error, it is
    raised again after that, or at once if there was no result.
    """
    interrupted = threading.Event()
    done = []
    ending: EtwDetectError | None = None
    try:
        with on_interruption(interrupted.set):
            for result in results:
                done.append(result)
                _show(result, first=len(done) == 1)
                if interrupted.is_set() and len(done) < count:
                    say("interrupted: the rest was not run")
                    yield Status.INCOMPLETE
                    break
    except EtwDetectError as error:
        if not done:
            raise
        ending = error
    if done:
        show_details(done)
    for path, text in ((junit, result_files.junit), (json, result_files.to_json)):
        if path is not None:
            yield _write(path, text(done))
    for result in done:
        yield {"failed": Status.ERROR}.get(result.status, Status.INCOMPLETE if result.incomplete else Status.DONE)
    if ending is not None:
        raise ending


def _show(result: Result, *, first: bool) -> None:
    if first:
        click.echo(report.heading())
    click.echo(report.row(result))


def show_details(results: Sequence[Result]) -> None:
    """Print below the table the details of failed and skipped results, the notes, and the totals."""
    skipped = [result for result in results if result.status == "skipped"]
    for result in results:
        if result.status == "failed" or result.notes:
            click.echo()
            for line in report.details(result):
                click.echo(line)
    if skipped:
        click.echo()
    for result in skipped:
        for line in report.details(result):
            click.echo(line)
    click.echo()
    for line in report.closing(results):
        click.echo(line)


def _write(path: Path, text: str) -> Status:
    try:
        with WholeFile(path) as file:
            file.write(text)
    except OSError as error:
        say(f"{path} cannot be written: {error.strerror}")
        return Status.ERROR
    return Status.DONE
