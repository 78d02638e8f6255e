"""etwdetect doctor: check whether live sessions work on this machine."""

from __future__ import annotations

import click

from etwdetect.cli.status import Status
from etwdetect.live.doctor import CheckResult, findings


@click.command()
def command() -> Status:
    """Check whether live sessions work on this machine, and say what to do if not.

    Prints a line for each check: ok, warning or failed. The exit status is 1 if any failed.
    """
    failed = False
    for finding in findings():
        click.echo(f"{finding.result.value:<8}{finding.what}: {finding.words}")
        failed |= finding.result is CheckResult.FAILED
    return Status.ERROR if failed else Status.DONE
