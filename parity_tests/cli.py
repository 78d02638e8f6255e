"""The commands `etwdetect parity run` and `etwdetect parity scenarios`."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from etwdetect.cli.inputs import Inputs
from etwdetect.cli.options import check_output
from etwdetect.cli.parity import check_reports, report_options, show_results
from etwdetect.cli.status import Status, of_all
from etwdetect.results.wording import printable
from parity_tests import loading, runner
from parity_tests.benches import BENCHES, TRACE, open_bench
from parity_tests.describe import describe
from parity_tests.errors import NoSuchScenarioError
from parity_tests.evidence import Evidence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from parity_tests.benches import Bench
    from parity_tests.scenario import Scenario

_FOLDER: Final = click.option(
    "--scenarios",
    "folder",
    type=click.Path(path_type=Path),
    help="The folder of scenario files; by default parity_tests/scenarios.",
)


@click.group()
def scenarios() -> None:
    """List the scenarios, or describe some of them in sentences."""


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
    """Describe scenarios in sentences: the steps and the expected reports."""
    for number, scenario in enumerate(_find(folder, names)):
        if number:
            click.echo()
        for line in describe(scenario):
            click.echo(printable(line))
    return Status.DONE


@click.command()
@click.argument("names", nargs=-1, metavar="[SCENARIO...] | TRACE...")
@click.option(
    "--bench",
    "benches",
    type=click.Choice((*BENCHES, TRACE)),
    multiple=True,
    default=("model", "file"),
    show_default=True,
    help="Where to run; may be given more than once. The trace bench takes recordings and must be the only one.",
)
@click.option(
    "--driver",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="KDETECTOR.SYS",
    help="Let the vm bench install and start this driver, and stop and uninstall it at the end.",
)
@click.option(
    "--evidence",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.zip",
    help="Write what both sides reported, recordings and versions to this file, for `parity compare FILE.zip`.",
)
@click.option("--not-a-vm", is_flag=True, help="Let the vm bench run on a machine that does not look virtual.")
@_FOLDER
@report_options
def run(  # noqa: PLR0913, PLR0917 (the command line)
    names: Sequence[str],
    benches: Sequence[str],
    folder: Path | None,
    driver: Path | None,
    evidence: Path | None,
    junit: Path | None,
    json: Path | None,
    *,
    not_a_vm: bool,
) -> Status:
    """Run scenarios, by default all of them, with both detectors and compare their reports.

    With --bench trace: compare both detectors on the events of recordings, any that `etwdetect scan` reads.
    """
    benches = list(dict.fromkeys(benches))
    if TRACE in benches:
        if len(benches) > 1 or not names:
            raise click.UsageError("--bench trace needs recordings (TRACE...) and cannot be combined with others")
        traces = Inputs([Path(name) for name in names])
        check_reports(traces.files(), junit, json)
        results = runner.replay_all(traces.scans())
        return of_all([*show_results(results, len(traces), junit, json), *traces.statuses], found=False)
    if driver is not None and "vm" not in benches:
        raise click.UsageError("--driver is for --bench vm")
    if evidence is not None and not set(benches) <= {"vm", "wine"}:
        raise click.UsageError("--evidence is for --bench vm and --bench wine")
    found = _find(folder, names)
    with contextlib.ExitStack() as stack:
        collected = None
        if evidence is not None:
            check_output(evidence, [each.path for each in found if each.path], "--evidence")
            collected = stack.enter_context(Evidence(evidence))
        opened = [_bench(name, driver, anywhere=not_a_vm) for name in benches]
        results = (result for bench in opened for result in runner.run(found, bench, collected))
        stack.enter_context(contextlib.closing(results))
        return of_all(show_results(results, len(found) * len(benches), junit, json), found=False)


def _bench(name: str, driver: Path | None, *, anywhere: bool) -> Bench:
    bench = open_bench(name)
    bench.driver, bench.anywhere = driver, anywhere
    return bench


def _find(folder: Path | None, names: Sequence[str] = ()) -> list[Scenario]:
    try:
        return loading.find(folder, names)
    except NoSuchScenarioError as error:
        raise click.UsageError(str(error)) from error
