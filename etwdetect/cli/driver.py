"""etwdetect driver: control the KDetector driver, and watch what it reports."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import Final

import click

from etwdetect.cli import note, say
from etwdetect.cli.enrichment import Enrichment, enrichment_options
from etwdetect.cli.results import Results, results_options
from etwdetect.cli.signals import on_interruption
from etwdetect.cli.status import Status
from etwdetect.kdetector import Device, Watcher, service
from etwdetect.kdetector.interface import DRIVER, MOST_BOUND
from etwdetect.live.clock import filetime_now
from etwdetect.live.lookups import DriverRecords
from etwdetect.results.fields import RecordSource
from etwdetect.results.wording import plural
from etwdetect.windows.libraries import require_windows
from etwdetect.windows.services import State

_BOUND: Final = click.IntRange(1, MOST_BOUND)


@click.group()
def command() -> None:
    """Control the KDetector driver, and watch what it reports."""


@command.command()
@click.argument("image", type=click.Path(path_type=Path), metavar="KDETECTOR.SYS")
@click.option("--table-bound", type=_BOUND, help="How many new processes may wait for their first thread.")
@click.option("--queue-bound", type=_BOUND, help="How many remote threads may wait to be read.")
def install(image: Path, table_bound: int | None, queue_bound: int | None) -> Status:
    """Copy the driver to the system's drivers and register it; start it with `start`."""
    note(f"installed {service.install(image, table_bound=table_bound, queue_bound=queue_bound)}")
    return Status.DONE


@command.command()
def start() -> Status:
    """Load the driver."""
    service.start()
    note("KDetector is running")
    return Status.DONE


@command.command()
def stop() -> Status:
    """Unload the driver."""
    service.stop()
    note("KDetector has stopped")
    return Status.DONE


@command.command()
def uninstall() -> Status:
    """Stop the driver if it runs, and remove it from the system."""
    service.uninstall()
    note("KDetector is uninstalled")
    return Status.DONE


@command.command()
def status() -> Status:
    """Print the state of the driver and its statistics."""
    state = service.state()
    click.echo(f"KDetector: {'not installed' if state is None else state.name.lower().replace('_', ' ')}")
    if state == State.RUNNING:
        with Device(reading=False) as device:
            counts = device.statistics()._asdict()
        width = max(map(len, counts))
        for label, value in counts.items():
            click.echo(f"{label.replace('_', ' '):{width}}  {value:,}")
    return Status.DONE


@command.command()
@results_options
@enrichment_options(live=True)
@click.option("--duration", type=click.FloatRange(min=0, min_open=True), help="Stop after so many seconds.")
def watch(results: Results, enrichment: Enrichment, duration: float | None) -> Status:
    """Print the remote threads that the driver reports, until Ctrl+C.

    The driver may be stopped and started again meanwhile.
    """
    require_windows(DRIVER)  # before the drive letters of this machine are listed
    interrupted = threading.Event()
    results.come_from(RecordSource.DRIVER)
    driver_records = DriverRecords(enrichment.files, enrichment.kinds)
    with on_interruption(interrupted.set):
        watcher = Watcher(interrupted.is_set, say, duration=duration)
        # Closing the generator closes the device even if an error keeps the generator alive.
        with results.open(live=True), contextlib.closing(iter(watcher)) as records:
            for record in records:
                if record is None:
                    results.tick(filetime_now())
                    continue
                for detection in driver_records.detections(record):
                    results.show(detection)
    hidden = f" ({results.filtered_out:,} filtered out)" if results.filtered_out else ""
    (say if watcher.dropped else note)(
        f"KDetector: {plural(watcher.received, 'remote thread')}{hidden}, {watcher.dropped:,} more were lost"
    )
    return results.status([Status.INCOMPLETE if watcher.dropped else Status.DONE])
