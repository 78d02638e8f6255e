"""The messages about a live session other than its detections."""

from __future__ import annotations

from typing import TYPE_CHECKING

from etwdetect.live import system
from etwdetect.live.losses import loss_text
from etwdetect.results import contradictions
from etwdetect.results.status import StatusRecord
from etwdetect.results.wording import plural

if TYPE_CHECKING:
    from etwdetect.live.monitor import Monitor
    from etwdetect.results.status import StatusKind


def closing(monitor: Monitor, filtered_out: int) -> str:
    """Return the closing line."""
    counts = monitor.stream.rule.counts
    hidden = f" ({filtered_out:,} filtered out)" if filtered_out else ""
    return (
        f"{plural(counts.remote, 'remote thread')}{hidden} in {plural(counts.seen, 'thread start')},"
        f" {plural(monitor.queue.received, 'event')}; {loss_text(monitor.stream.lost)}"
    )


def status(monitor: Monitor, kind: StatusKind, message: str) -> StatusRecord:
    """Return what the receivers of the records are told."""
    counts, lost = monitor.stream.rule.counts, monitor.stream.lost
    return StatusRecord(
        kind,
        monitor.clock.now(),
        system.host(),
        message,
        monitor.queue.received,
        counts.seen,
        counts.remote,
        lost.events,
        lost.buffers,
    )


def notes(monitor: Monitor) -> list[str]:
    """Return a line for each notable fact that is not a loss."""
    stream = monitor.stream
    lines = []
    if stream.unknown_versions:
        what = ", ".join(sorted({f"{kind} version {version}" for kind, version in stream.unknown_versions}))
        lines.append(f"unknown event versions, of which only the fields common to all versions were used: {what}")
    if stream.damaged:
        lines.append(f"{plural(stream.damaged, 'event')} had a payload too short for its version")
    if stream.window.misses:
        lines.append(
            f"{plural(stream.window.misses, 'event')} came more than {stream.window.width * 1000:.0f} ms late and"
            " reached the rule out of order"
        )
    lines += contradictions.notes(stream.contradictions)
    lines += contradictions.possible_misses(stream.rule.possible_misses, stream.rule.possible_miss_count)
    return lines


def statistics(monitor: Monitor, events_per_second: float) -> str:
    """Return the statistics of a running monitor in one line."""
    counts, stream = monitor.stream.rule.counts, monitor.stream
    return (
        f"{plural(monitor.queue.received, 'event')} ({events_per_second:,.0f} a second);"
        f" thread starts: {counts.own:,} own, {counts.first:,} first, {counts.excluded:,} excluded,"
        f" {counts.unknown:,} unknown, {counts.remote:,} remote;"
        f" {len(monitor.queue):,} waiting, {len(stream.window):,} in the window of"
        f" {stream.window.width * 1000:.0f} ms, {stream.window.misses:,} came later;"
        f" {len(stream.rule.table):,} new processes; {loss_text(stream.lost)}"
        + "".join(f"; without {each}" for each in monitor.restrictions)
    )
