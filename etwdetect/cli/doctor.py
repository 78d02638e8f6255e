"""etwdetect doctor: whether this machine can be watched, and what to do where not."""

from __future__ import annotations

import click

from etwdetect.cli.status import Status
from etwdetect.live.doctor import Verdict, findings


@click.command()
def command() -> Status:
    """Say whether live sessions can be had on this machine, and what to do where not.

    A line for each thing: ok, warning or failed. The status is 1 if anything failed.
    """
    failed = False
    for finding in findings():
        click.echo(f"{finding.verdict.value:<8}{finding.what}: {finding.words}")
        failed |= finding.verdict is Verdict.FAILED
    return Status.ERROR if failed else Status.DONE
