"""etwdetect parity: hold the detector without a driver and the driver side by side."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from etwdetect.cli import say
from etwdetect.cli.inputs import Inputs
from etwdetect.cli.options import check_output
from etwdetect.cli.signals import on_interruption
from etwdetect.cli.status import Status, of_all
from etwdetect.comparison import report, result_files
from etwdetect.comparison.saved_outputs import compare_outputs
from etwdetect.core.errors import EtwDetectError
from etwdetect.results.escape import printable
from parity_tests import loading, runner
from parity_tests.benches import BENCHES, TRACE
from parity_tests.describe import describe
from parity_tests.errors import NoSuchScenarioError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from etwdetect.comparison.result import Result
    from parity_tests.scenario import Scenario

_FOLDER: Final = click.option(
    "--scenarios",
    "folder",
    type=click.Path(path_type=Path),
    help="The folder of scenario files; by default the checkout's parity_tests/scenarios.",
)
_FILE: Final = click.Path(dir_okay=False, path_type=Path)


def _report_options(decorated: Callable[..., Status]) -> Callable[..., Status]:
    decorated = click.option("--json", type=_FILE, help="Write the results to a file, as JSON.")(decorated)
    return click.option("--junit", type=_FILE, help="Write the results to a file, as JUnit's XML.")(decorated)


@click.group()
def command() -> None:
    """Show that etwdetect without a driver says what the KDetector driver says."""


@command.group()
def scenarios() -> None:
    """List the scenarios, or show one of them in sentences."""


@scenarios.command("list")
@_FOLDER
def list_scenarios(folder: Path | None) -> Status:
    """List the scenarios with their titles."""
    found = _find(folder)
    width = max(len(scenario.name) for scenario in found)
    for scenario in found:
        click.echo(f"{scenario.name:{width}}  {printable(scenario.title)}")
    return Status.DONE


@scenarios.command()
@click.argument("names", nargs=-1, required=True, metavar="SCENARIO...")
@_FOLDER
def show(names: Sequence[str], folder: Path | None) -> Status:
    """Print scenarios in sentences: the steps, and what must be reported."""
    for number, scenario in enumerate(_find(folder, names)):
        if number:
            click.echo()
        for line in describe(scenario):
            click.echo(printable(line))
    return Status.DONE


@command.command()
@click.argument("names", nargs=-1, metavar="[SCENARIO...] | TRACE...")
@click.option(
    "--bench",
    "benches",
    type=click.Choice((*BENCHES, TRACE)),
    multiple=True,
    default=("model", "file"),
    show_default=True,
    help="Where to run; may be given more than once. The trace bench takes recordings, and goes alone.",
)
@click.option(
    "--not-a-vm", is_flag=True, help="Let the vm bench run on what does not look like a virtual machine."
)
@_FOLDER
@_report_options
def run(  # noqa: PLR0913 (the command line)
    names: Sequence[str],
    benches: Sequence[str],
    folder: Path | None,
    junit: Path | None,
    json: Path | None,
    *,
    not_a_vm: bool,
) -> Status:
    """Run scenarios, by default all of them, through both detectors and compare.

    With --bench trace: take recordings, whatever `etwdetect scan` takes, and compare on their events.
    """
    benches = list(dict.fromkeys(benches))
    if TRACE in benches:
        if len(benches) > 1 or not names:
            raise click.UsageError("--bench trace takes recordings, TRACE..., and goes alone")
        paths = [Path(name) for name in names]
        _check_reports(paths, junit, json)
        traces = Inputs(paths, join=False)
        results = runner.replay_all(traces.scans())
        return of_all([*_run(results, len(traces), junit, json), *traces.statuses], found=False)
    found = _find(folder, names)
    results = (result for bench in benches for result in runner.run(found, bench, anywhere=not_a_vm))
    return of_all(_run(results, len(found) * len(benches), junit, json), found=False)


@command.command()
@click.argument("etw", type=_FILE, metavar="ETW.json")
@click.argument("driver", type=_FILE, metavar="DRIVER.json")
@_report_options
def compare(etw: Path, driver: Path, junit: Path | None, json: Path | None) -> Status:
    """Compare outputs that were recorded earlier with --format json: of `scan` or `monitor`, and `driver watch`.

    Times are shown and not judged, because they come from two clocks; records more than 10 ms apart must be in the
    same order.
    """
    _check_reports([etw, driver], junit, json)
    return of_all(_run([compare_outputs(etw, driver)], 1, junit, json), found=False)


def _check_reports(inputs: Sequence[Path], junit: Path | None, json: Path | None) -> None:
    for option, path in (("--junit", junit), ("--json", json)):
        if path is not None:
            check_output(path, inputs, option)


def _find(folder: Path | None, names: Sequence[str] = ()) -> list[Scenario]:
    try:
        return loading.find(folder, names)
    except NoSuchScenarioError as error:
        raise click.UsageError(str(error)) from error


def _run(results: Iterable[Result], count: int, junit: Path | None, json: Path | None) -> Iterator[Status]:
    """Print each of *results*, of which there may be *count*, then what is to be said of them.

    Yields a status for each, and for what failed. Raises what ended the results, after all that.
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
        _conclude(done)
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


def _conclude(results: Sequence[Result]) -> None:
    """Print below the table what is to be said of some of *results*, and of all together."""
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
        path.write_text(text, "utf-8")
    except OSError as error:
        say(f"{path} cannot be written: {error.strerror}")
        return Status.ERROR
    return Status.DONE
