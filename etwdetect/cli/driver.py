"""etwdetect driver: control the KDetector driver, and watch what it reports."""

from __future__ import annotations

import contextlib
import threading
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from etwdetect.cli import options, say
from etwdetect.cli.ending import close_quietly, is_broken_pipe, on_interruption
from etwdetect.cli.status import Status, of_all
from etwdetect.enrich.detection import Detection, Process
from etwdetect.kdetector import Device, KDetectorError, Watcher, service
from etwdetect.kdetector.errors import NotElevatedError, UnsupportedSystemError
from etwdetect.kdetector.interface import MOST_BOUND
from etwdetect.output import Writer, times

if TYPE_CHECKING:
    from typing import TextIO

    from etwdetect.filters import Filter

_BOUND: Final = click.IntRange(1, MOST_BOUND)


class _Driver(click.Group):
    """Gives each of the driver's errors its exit status."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 (click's signature)
        try:
            return super().invoke(ctx)
        except KDetectorError as error:
            say(str(error))
            match error:
                case NotElevatedError():
                    return Status.NOT_ELEVATED
                case UnsupportedSystemError():
                    return Status.NOT_POSSIBLE
            return Status.ERROR


@click.group(cls=_Driver)
def command() -> None:
    """Control the KDetector driver, and watch what it reports."""


@command.command()
@click.argument("image", type=click.Path(path_type=Path), metavar="KDETECTOR.SYS")
@click.option("--table-bound", type=_BOUND, help="How many new processes may wait for their first thread.")
@click.option("--queue-bound", type=_BOUND, help="How many remote threads may wait to be read.")
def install(image: Path, table_bound: int | None, queue_bound: int | None) -> Status:
    """Copy the driver to the system's drivers and register it; start it with `start`."""
    say(f"installed {service.install(image, table_bound=table_bound, queue_bound=queue_bound)}")
    return Status.DONE


@command.command()
def start() -> Status:
    """Load the driver."""
    service.start()
    say("KDetector is running")
    return Status.DONE


@command.command()
def stop() -> Status:
    """Unload the driver."""
    service.stop()
    say("KDetector has stopped")
    return Status.DONE


@command.command()
def uninstall() -> Status:
    """Stop the driver if it runs, and remove it from the system."""
    service.uninstall()
    say("KDetector is uninstalled")
    return Status.DONE


@command.command()
def status() -> Status:
    """Print whether the driver is installed and runs, and what it has counted."""
    state = service.state()
    click.echo(f"KDetector: {'not installed' if state is None else state.name.lower().replace('_', ' ')}")
    if state == service.State.RUNNING:
        with Device(reading=False) as device:
            counts = device.statistics()._asdict()
        width = max(map(len, counts))
        for label, value in counts.items():
            click.echo(f"{label.replace('_', ' '):{width}}  {value:,}")
    return Status.DONE


@command.command()
@options.output_options
@options.filter_options
@click.option("--duration", type=click.FloatRange(min=0, min_open=True), help="Stop after so many seconds.")
@click.option("--exit-code", is_flag=True, help="End with status 10, or 11 if incomplete, on any remote thread.")
def watch(
    form: str,
    output: Path | None,
    duration: float | None,
    *,
    utc: bool,
    exit_code: bool,
    **filters: Any,  # noqa: ANN401
) -> Status:
    """Print the remote threads that the driver reports, until Ctrl+C.

    The driver may be stopped and started meanwhile.
    """
    wanted = options.make_filter(**filters, utc=utc)
    interrupted = threading.Event()
    with options.output_stream(output) as stream, on_interruption(interrupted.set):
        watcher = Watcher(interrupted.is_set, say, duration=duration)
        shown = _print(watcher, Writer(stream, form, in_utc=utc), stream, wanted)
    hidden = f" ({watcher.received - shown:,} filtered out)" if shown < watcher.received else ""
    threads = "remote thread" if watcher.received == 1 else "remote threads"
    say(f"KDetector: {watcher.received:,} {threads}{hidden}, {watcher.dropped:,} more were lost")
    return of_all([Status.INCOMPLETE if watcher.dropped else Status.DONE], found=exit_code and shown > 0)


def _print(watcher: Watcher, writer: Writer, stream: TextIO, wanted: Filter) -> int:
    """Write what *watcher* yields, each record at once; return how many passed the filter."""
    shown = 0
    today = datetime.now().astimezone().date()
    records = iter(watcher)
    # Closing the generator closes the device, though the error may keep the generator alive for longer.
    with contextlib.closing(records):
        try:
            for record in filter(wanted.passes, records):
                writer.dates = writer.dates or times.local(record.time).date() != today
                writer.write(Detection(record, "driver", Process(record.creator_pid), Process(record.pid)))
                stream.flush()
                shown += 1
        except OSError as error:
            if not is_broken_pipe(error):
                raise
            close_quietly()
    return shown
