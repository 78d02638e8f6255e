"""etwdetect record: record a machine's events into a trace that any system can scan."""

from __future__ import annotations

import threading
from pathlib import Path

import click

from etwdetect.cli import note, say
from etwdetect.cli.signals import on_interruption
from etwdetect.cli.status import Status
from etwdetect.live import pywintrace
from etwdetect.live.recording import longest_path, record
from etwdetect.live.settings import SessionConfig


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.etl")
@click.option("--duration", type=click.FloatRange(min=0, min_open=True), help="Stop after so many seconds.")
@click.option("--kernel-process", is_flag=True, help="Record Microsoft-Windows-Kernel-Process instead.")
def command(file: Path, duration: float | None, *, kernel_process: bool) -> Status:
    """Record processes, threads and images into a new FILE.etl, until Ctrl+C.

    By default the kernel logger is recorded, which lists all processes at the start, with command lines.
    `etwdetect scan` reads the file on any system.
    """
    pywintrace.load()  # fails early elsewhere than on Windows
    if len(str(file.absolute()).encode("utf-16-le", "surrogatepass")) // 2 > (limit := longest_path()):
        raise click.UsageError(f"the path of FILE.etl is longer than {limit:,} characters")
    if file.exists():
        raise click.UsageError(f"{file} already exists")
    if not file.absolute().parent.is_dir():
        raise click.UsageError(f"{file.parent} is not a directory")
    stop = threading.Event()
    with on_interruption(stop.set):
        recorded = record(
            SessionConfig(kernel_logger=not kernel_process, file=file, stacks=True), stop.is_set, say, duration
        )
    if recorded.cut_short is not None:
        say(recorded.cut_short)
    lost = recorded.events_lost or recorded.buffers_lost
    (say if lost else note)(
        f"{file}: {recorded.seconds:,.0f} seconds, {file.stat().st_size if file.exists() else 0:,} bytes;"
        f" {recorded.events_lost:,} events and {recorded.buffers_lost:,} buffers lost"
    )
    if not file.exists():
        return Status.ERROR
    complete = not (lost or recorded.cut_short)
    return Status.DONE if complete else Status.INCOMPLETE
