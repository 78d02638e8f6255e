"""What is said of live watching besides its detections."""

from __future__ import annotations

from typing import TYPE_CHECKING

from etwdetect.results.wording import plural

if TYPE_CHECKING:
    from etwdetect.core.events import Loss
    from etwdetect.live.monitor import Monitor


def closing(monitor: Monitor, filtered_out: int) -> str:
    """Return the line that closes it."""
    counts = monitor.stream.rule.counts
    hidden = f" ({filtered_out:,} filtered out)" if filtered_out else ""
    return (
        f"{plural(counts.remote, 'remote thread')}{hidden} in {plural(counts.seen, 'thread start')},"
        f" {plural(monitor.intake.received, 'event')}; {lost(monitor.stream.lost)}"
    )


def notes(monitor: Monitor) -> list[str]:
    """Return a line for each thing that is worth knowing though nothing is missing."""
    stream = monitor.stream
    lines = []
    if stream.unknown_versions:
        what = ", ".join(sorted({f"{kind} version {version}" for kind, version in stream.unknown_versions}))
        lines.append(f"unknown event versions, of which only what every version has was used: {what}")
    if stream.damaged:
        lines.append(f"{plural(stream.damaged, 'event')} had a payload too short for its version")
    if stream.window.misses:
        lines.append(
            f"{plural(stream.window.misses, 'event')} came more than {stream.window.width * 1000:.0f} ms late and"
            " reached the rule out of order"
        )
    return lines


def statistics(monitor: Monitor, events_per_second: float) -> str:
    """Return what is worth a look while it runs, in one line."""
    counts, stream = monitor.stream.rule.counts, monitor.stream
    return (
        f"{plural(monitor.intake.received, 'event')} ({events_per_second:,.0f} a second);"
        f" thread starts: {counts.own:,} own, {counts.first:,} first, {counts.excluded:,} excluded,"
        f" {counts.unknown:,} unknown, {counts.remote:,} remote;"
        f" {len(monitor.intake):,} waiting, {len(stream.window):,} in the window of"
        f" {stream.window.width * 1000:.0f} ms, {stream.window.misses:,} came later;"
        f" {len(stream.rule.table):,} new processes; {lost(stream.lost)}"
    )


def lost(loss: Loss) -> str:
    """Return how much *loss* is."""
    return f"{plural(loss.events, 'event')} and {plural(loss.buffers, 'buffer')} lost"
