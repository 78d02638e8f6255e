"""etwdetect monitor: remote threads as they happen, on Windows."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from etwdetect.cli import note, say, stdio
from etwdetect.cli.config_file import config_option
from etwdetect.cli.enrichment import Enrichment, enrichment_options
from etwdetect.cli.results import Results, results_options
from etwdetect.cli.signals import on_interruption
from etwdetect.cli.status import Status
from etwdetect.core.errors import EtwDetectError
from etwdetect.live import pywintrace, summary
from etwdetect.live.eventlog import EventLog
from etwdetect.live.lookups import live_enricher
from etwdetect.live.monitor import Monitor
from etwdetect.live.settings import SessionConfig
from etwdetect.live.stream import GRACE_PERIOD
from etwdetect.results.fields import RecordSource
from etwdetect.results.rotation import MEBIBYTE, Rotation
from etwdetect.results.status import StatusKind
from etwdetect.results.wording import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from etwdetect.core.events import Event
    from etwdetect.enrich.detection import Detection
    from etwdetect.results.privacy import Privacy

HEARTBEAT: Final = 300.0
"""How many seconds lie between two heartbeats, unless told otherwise."""

_ABOVE_ZERO = click.FloatRange(min=0, min_open=True)


@config_option
@click.command()
@results_options
@enrichment_options(live=True)
@click.option("--kernel-logger", is_flag=True, help="Use a system logger session instead of the provider.")
@click.option(
    "--per-processor", is_flag=True, help="Let each processor fill its own buffers: for high rates, 0.2 s later."
)
@click.option("--duration", type=_ABOVE_ZERO, help="Stop after this many seconds.")
@click.option("--strict", is_flag=True, help="End with status 3 when another program stops the session.")
@click.option("--stats", type=_ABOVE_ZERO, help="Print statistics on standard error at this interval, in seconds.")
@click.option(
    "--heartbeat",
    type=_ABOVE_ZERO,
    default=HEARTBEAT,
    show_default=True,
    metavar="SECONDS",
    help="How often to tell the receivers (--to) that the monitor runs.",
)
@click.option("--rotate", type=_ABOVE_ZERO, metavar="MB", help="Begin a new --output at this size, in megabytes.")
@click.option(
    "--keep", type=click.IntRange(min=1), default=9, show_default=True, help="How many rotated files to keep."
)
@click.option(
    "--events",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Append all events to this file, as JSON lines.",
)
def command(  # noqa: PLR0913, PLR0917 (one parameter an option)
    results: Results,
    enrichment: Enrichment,
    duration: float | None,
    stats: float | None,
    heartbeat: float,
    rotate: float | None,
    keep: int,
    events: Path | None,
    *,
    kernel_logger: bool,
    per_processor: bool,
    strict: bool,
) -> Status:
    """Print remote threads as they happen, until Ctrl+C."""
    if kernel_logger and results.stacks:
        raise click.UsageError(
            "--stacks needs the provider; a system logger's stacks are read from a recording only"
        )
    pywintrace.load()  # fails at once where live sessions are not possible
    stop = threading.Event()
    results.come_from(RecordSource.LIVE, functions=enrichment.files is not None)
    enricher = live_enricher("etw", GRACE_PERIOD, enrichment.files, enrichment.kinds)
    rotation = Rotation(None if rotate is None else round(rotate * MEBIBYTE), keep)
    with on_interruption(stop.set), _event_log(events, results.privacy) as tap:
        config = SessionConfig(kernel_logger, per_processor=per_processor, stacks=results.stacks)

        def report(kind: StatusKind, sentence: str) -> None:
            results.tell(summary.status(monitor, kind, sentence))

        monitor = Monitor(
            stop.is_set, say, enricher, report=report, config=config, strict=strict, duration=duration, tap=tap
        )
        try:
            with (
                results.open(live=True, rotation=rotation),
                _end_reported(report, lambda: summary.closing(monitor, results.filtered_out)),
                contextlib.closing(monitor.poll()) as turns,
            ):
                turns_told = _with_heartbeats(_announced(turns), monitor, report, heartbeat)
                for detections in _with_statistics(turns_told, monitor, stats):
                    for detection in detections:
                        results.show(detection)
                    results.tick(monitor.clock.now())
        finally:
            if monitor.started:
                for line in summary.notes(monitor):
                    say(line)
                note(summary.closing(monitor, results.filtered_out))
    return results.status([Status.INCOMPLETE if monitor.incomplete else Status.DONE])


@contextlib.contextmanager
def _event_log(path: Path | None, privacy: Privacy) -> Iterator[Callable[[list[Event]], None] | None]:
    """Open the file for all events; give the function that writes some."""
    if path is None:
        yield None
        return
    with contextlib.closing(EventLog(path)) as log:
        yield log.write if privacy.hides_nothing else lambda events: log.write(map(privacy.event, events))


def _announced(turns: Iterable[list[Detection]]) -> Iterator[list[Detection]]:
    """Yield the *turns*, and tell who runs the command at the first one: its session has started then."""
    started = click.get_current_context().obj
    for detections in turns:
        if started is not None:
            started()
            started = None
        yield detections


@contextlib.contextmanager
def _end_reported(report: Callable[[StatusKind, str], None], summary: Callable[[], str]) -> Iterator[None]:
    """Report the end of the block, with the *summary*, or the error that ends it."""
    try:
        yield
    except BaseException as error:
        report(StatusKind.STOPPED, printable(f"the monitor ends: {_reason(error)}"))
        raise
    report(StatusKind.STOPPED, f"the monitor ends: {summary()}")


def _reason(error: BaseException) -> str:
    match error:
        case EtwDetectError():
            return str(error)
        case stdio.OutputEndedError():
            return f"its output cannot be written: {error.reason or 'nobody reads it'}"
        case KeyboardInterrupt():
            return "interrupted"
        case _:
            return f"an error that etwdetect does not foresee ({type(error).__name__})"


def _with_heartbeats(
    turns: Iterable[list[Detection]],
    monitor: Monitor,
    report: Callable[[StatusKind, str], None],
    every: float,
) -> Iterator[list[Detection]]:
    """Yield the *turns*, and report *every* so many seconds that the monitor runs, or that it has no session."""
    last = time.monotonic()
    for detections in turns:
        yield detections
        if time.monotonic() - last >= every:
            last = time.monotonic()
            if monitor.watching:
                report(StatusKind.HEARTBEAT, "the monitor runs")
            else:
                report(StatusKind.DEGRADED, "there is no session; trying again")


def _with_statistics(
    turns: Iterable[list[Detection]], monitor: Monitor, every: float | None
) -> Iterator[list[Detection]]:
    """Yield the *turns*, and print statistics *every* so many seconds."""
    last, counted = time.monotonic(), 0
    for detections in turns:
        yield detections
        now, received = time.monotonic(), monitor.queue.received
        if every is not None and now - last >= every:
            say(summary.statistics(monitor, (received - counted) / (now - last)))
            last, counted = now, received
