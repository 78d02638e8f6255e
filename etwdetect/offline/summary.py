"""What is said of a scan besides its detections: what is amiss, what was seen, and at what speed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from etwdetect.results.wording import plural, printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etwdetect.offline import Scan

_DAMAGES_SHOWN: Final = 10
_VERSIONS_SHOWN: Final = 5

_THREAD_KINDS: Final = frozenset(("ThreadStart", "ThreadStop", "ThreadDCStart", "ThreadDCEnd", "ThreadRundown"))
_PROCESS_KINDS: Final = frozenset(
    ("ProcessStart", "ProcessStop", "ProcessDCStart", "ProcessDCEnd", "ProcessDefunct", "ProcessRundown")
)


def name(scan: Scan) -> str:
    """Return what to call the scan's input or inputs."""
    first = printable(scan.traces[0].name)
    return first if len(scan.traces) == 1 else f"{first} and {len(scan.traces) - 1} more, joined"


def warnings(scan: Scan) -> Iterator[str]:
    """Yield a line for each reason why the scan may have missed something, or found what was not there."""
    for trace in scan.traces:
        for damage in trace.damages.described[:_DAMAGES_SHOWN]:
            yield f"{printable(trace.name)}: offset {damage.offset:#x}: {damage.what}"
        more = trace.damages.count - _DAMAGES_SHOWN
        if more > 0:
            yield f"{printable(trace.name)}: {more:,} more places are damaged"
    if scan.stopped:
        yield f"{name(scan)}: interrupted: what was not read by then is not in the result"
    if scan.events_lost or scan.buffers_lost:
        yield (
            f"{name(scan)}: {scan.events_lost:,} events and {scan.buffers_lost:,} buffers were lost while it was"
            " recorded: remote threads may be missing, and those found may be first threads"
        )
    if not scan.counts.keys() & _THREAD_KINDS:
        missing = "thread" if scan.counts.keys() & _PROCESS_KINDS else "process or thread"
        yield f"{name(scan)}: has no {missing} events, so it can't show a remote thread"


def notes(scan: Scan) -> Iterator[str]:
    """Yield a line for each thing that is worth knowing though nothing is missing."""
    for kind in sorted({kind for kind, _ in scan.unknown_versions}):
        versions = sorted(version for each, version in scan.unknown_versions if each == kind)
        shown = ", ".join(map(str, versions[:_VERSIONS_SHOWN])) + (" …" if len(versions) > _VERSIONS_SHOWN else "")
        count = sum(scan.unknown_versions[kind, version] for version in versions)
        yield (
            f"{name(scan)}: {count:,} {kind} events have the unknown version {shown};"
            " of them only what every version has is used"
        )
    if scan.told_twice:
        yield (
            f"{name(scan)}: two providers tell of thread starts; the {scan.told_twice:,} of the one that tells of"
            " fewer are left out"
        )
    if scan.counts.keys() & _THREAD_KINDS and not scan.counts.keys() & _PROCESS_KINDS:
        yield f"{name(scan)}: has no process events: the first thread of a new process looks remote in it"
    if scan.rule.table.evictions:
        yield (
            f"{name(scan)}: more than {scan.rule.table.bound:,} processes waited for their first thread;"
            f" {scan.rule.table.evictions:,} were forgotten"
        )
    if scan.images_damaged:
        yield f"{name(scan)}: {scan.images_damaged:,} image events cannot be read: start modules may be missing"
    if scan.rule.counts.unknown:
        yield f"{name(scan)}: {scan.rule.counts.unknown:,} thread starts do not tell their creator"


def closing(scan: Scan, filtered_out: int) -> str:
    """Return the line that closes a scan."""
    counts = scan.rule.counts
    hidden = f" ({filtered_out:,} filtered out)" if filtered_out else ""
    return (
        f"{name(scan)}: {plural(counts.remote, 'remote thread')}{hidden} in"
        f" {plural(counts.seen, 'thread start')}, {plural(scan.events_read, 'event')}"
    )


def stats(scan: Scan) -> Iterator[str]:
    """Yield the statistics, a line each."""
    counts, table = scan.rule.counts, scan.rule.table
    rows: list[tuple[str, object]] = [("events read", scan.events_read)]
    rows += [(f"  {kind}", count) for kind, count in sorted(scan.counts.items())]
    rows += [("  other", scan.events_read - sum(scan.counts.values()))]
    rows += [
        ("thread starts", counts.seen),
        ("  own", counts.own),
        ("  first", counts.first),
        ("  excluded", counts.excluded),
        ("  unknown creator", counts.unknown),
        ("  remote", counts.remote),
        ("new-process table", len(table)),
        ("  evictions", table.evictions),
        ("events lost", scan.events_lost),
        ("buffers lost", scan.buffers_lost),
        ("damaged places", scan.damages),
        ("seconds", f"{scan.seconds:.3f}"),
        ("events per second", round(scan.events_read / max(scan.seconds, 1e-9))),
    ]
    rows += [("unknown versions", sum(scan.unknown_versions.values()))]
    width = max(len(label) for label, _ in rows)
    for label, value in rows:
        yield f"{label:{width}}  {value if isinstance(value, str) else f'{value:,}'}"
