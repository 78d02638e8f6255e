"""etwdetect doctor: check whether live sessions work on this machine."""

from __future__ import annotations

from pathlib import Path

import click

from etwdetect.cli import options, say
from etwdetect.cli.status import Status
from etwdetect.live.doctor import CheckResult, Doctor
from etwdetect.live.report import write_report
from etwdetect.results.privacy import Privacy


@click.command()
@click.option(
    "--report",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.zip",
    help="Also pack all of it into FILE.zip, with versions, settings, a log and a short recording.",
)
@click.option("--stacks", is_flag=True, help="Also test a session with call stacks, and measure what they cost.")
@options.privacy_options(default=False)
def command(report: Path | None, *, stacks: bool, command_lines: bool, users: bool) -> Status:
    """Check whether live sessions work on this machine, and say what to do if not.

    Sessions of each kind are started, and tested with a process and a thread of its own. Prints a line for each
    check: ok, warning or failed; the last is the verdict. The exit status is 1 if any failed.
    """
    doctor = Doctor(stacks=stacks)
    findings = []
    for finding in doctor.findings():
        findings.append(finding)
        click.echo(f"{finding.result.value:<8}{finding.what}: {finding.words}")
    if report is not None:
        write_report(report, doctor, findings, Privacy(command_lines, users))
        say(f"{report}: written; 'etwdetect scan' reads it, docs/user/first-run.md says where to send it")
    failed = any(finding.result is CheckResult.FAILED for finding in findings)
    return Status.ERROR if failed else Status.DONE
