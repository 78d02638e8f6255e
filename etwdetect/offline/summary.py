"""The messages about a scan: what is missing, what was seen, and how fast."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from etwdetect.results import contradictions
from etwdetect.results.wording import plural, printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etwdetect.offline.result import ScanResult

_DAMAGES_SHOWN: Final = 10
_VERSIONS_SHOWN: Final = 5

_THREAD_KINDS: Final = frozenset(("ThreadStart", "ThreadStop", "ThreadDCStart", "ThreadDCEnd", "ThreadRundown"))
_PROCESS_KINDS: Final = frozenset(
    ("ProcessStart", "ProcessStop", "ProcessDCStart", "ProcessDCEnd", "ProcessDefunct", "ProcessRundown")
)


def name(result: ScanResult) -> str:
    """Return the name of the scan's input or inputs."""
    first = printable(result.files[0].name)
    return first if len(result.files) == 1 else f"{first} and {len(result.files) - 1} more, joined"


def warnings(result: ScanResult) -> Iterator[str]:
    """Yield a line for each reason why the scan may have missed remote threads or found false ones."""
    for file in result.files:
        for offset, what in file.described[:_DAMAGES_SHOWN]:
            yield printable(f"{file.name}: offset {offset:#x}: {what}")
        more = file.damages - _DAMAGES_SHOWN
        if more > 0:
            yield f"{printable(file.name)}: {more:,} more places are damaged"
        if file.missing:
            yield (
                f"{printable(file.name)}: {file.buffers - file.missing:,} of {file.buffers:,} buffers are there:"
                " remote threads may be missing, and those found may be first threads"
            )
        if file.repeated:
            yield (
                f"{printable(file.name)}: {plural(file.repeated, 'row')} left out whose number an earlier row has:"
                " remote threads may be missing if two recordings have one name"
            )
    if result.stopped:
        yield f"{name(result)}: interrupted: what was not read by then is not in the result"
    if result.events_lost or result.buffers_lost:
        yield (
            f"{name(result)}: {_lost(result)} lost while it was recorded: remote threads may be missing, and those"
            " found may be first threads"
        )
    if result.hosts > 1:
        yield f"{name(result)}: {result.hosts} machines are named in it: their files are not one recording"
    misses = contradictions.possible_misses(result.possible_misses, result.possible_miss_count)
    yield from (f"{name(result)}: {line}" for line in misses)
    nothing = nothing_to_show(result)
    if nothing is not None:
        yield nothing


def nothing_to_show(result: ScanResult) -> str | None:
    """Return the line about a scan that can't show a remote thread; None where it can."""
    if result.counts.keys() & _THREAD_KINDS:
        return None
    missing = "thread" if result.counts.keys() & _PROCESS_KINDS else "process or thread"
    return f"{name(result)}: has no {missing} events, so it can't show a remote thread"


def _lost(result: ScanResult) -> str:
    counts = (result.events_lost, "event"), (result.buffers_lost, "buffer")
    lost = " and ".join(plural(count, noun) for count, noun in counts if count)
    return f"{lost} {'was' if result.events_lost + result.buffers_lost == 1 else 'were'}"


def notes(result: ScanResult) -> Iterator[str]:
    """Yield a line for each thing that is worth knowing where nothing is missing."""
    for kind in sorted({kind for kind, _ in result.unknown_versions}):
        versions = sorted(version for each, version in result.unknown_versions if each == kind)
        shown = ", ".join(map(str, versions[:_VERSIONS_SHOWN])) + (" …" if len(versions) > _VERSIONS_SHOWN else "")
        count = sum(result.unknown_versions[kind, version] for version in versions)
        yield (
            f"{name(result)}: {count:,} {kind} events have the unknown version {shown};"
            " only the fields that every version has are used of them"
        )
    yield from _told_twice(result)
    if result.counts.keys() & _THREAD_KINDS and not result.counts.keys() & _PROCESS_KINDS:
        yield f"{name(result)}: has no process events: the first thread of a new process looks remote in it"
    if result.evictions:
        yield (
            f"{name(result)}: more than {result.table_bound:,} processes waited for their first thread;"
            f" {result.evictions:,} were evicted from the table"
        )
    if result.images_damaged:
        count = result.images_damaged
        yield f"{name(result)}: {count:,} image events cannot be read: start modules may be missing"
    if result.stacks_damaged:
        yield f"{name(result)}: {plural(result.stacks_damaged, 'record')} of call stacks cannot be read"
    yield from (f"{name(result)}: {line}" for line in contradictions.notes(result.contradictions))
    if result.thread_starts.unknown:
        yield f"{name(result)}: {result.thread_starts.unknown:,} thread starts have no known creator"


def _told_twice(result: ScanResult) -> Iterator[str]:
    for count, who in (
        (result.told_by_one_provider, "one provider, so several sessions are in it"),
        (result.told_by_two_providers, "two providers"),
    ):
        if count:
            yield (
                f"{name(result)}: {plural(count, 'thread start')} {'is' if count == 1 else 'are'} told twice by"
                f" {who}; each counts once"
            )
    if result.recordings > 1:
        yield f"{name(result)}: {result.recordings} logfile headers: each begins a recording of its own"
    if result.doubled_buffers:
        yield f"{name(result)}: {plural(result.doubled_buffers, 'buffer')} in it twice, and read once"


def closing(result: ScanResult, filtered_out: int) -> str:
    """Return the line that closes a result."""
    counts = result.thread_starts
    hidden = f" ({filtered_out:,} filtered out)" if filtered_out else ""
    return (
        f"{name(result)}: {plural(counts.remote, 'remote thread')}{hidden} in"
        f" {plural(counts.seen, 'thread start')}, {plural(result.events_read, 'event')}"
    )


def stats(result: ScanResult) -> Iterator[str]:
    """Yield the statistics, a line each."""
    counts = result.thread_starts
    rows: list[tuple[str, object]] = [("events read", result.events_read)]
    rows += [(f"  {kind}", count) for kind, count in sorted(result.counts.items())]
    rows += [("  other", result.events_read - sum(result.counts.values()))]
    rows += [
        ("thread starts", counts.seen),
        ("  own", counts.own),
        ("  first", counts.first),
        ("  excluded", counts.excluded),
        ("  unknown creator", counts.unknown),
        ("  remote", counts.remote),
        ("new-process table", result.table_size),
        ("  evictions", result.evictions),
        ("events lost", result.events_lost),
        ("buffers lost", result.buffers_lost),
        ("damaged places", result.damages),
        ("seconds", f"{result.seconds:.3f}"),
        ("events per second", round(result.events_read / max(result.seconds, 1e-9))),
    ]
    rows += [("unknown versions", sum(result.unknown_versions.values()))]
    width = max(len(label) for label, _ in rows)
    for label, value in rows:
        yield f"{label:{width}}  {value if isinstance(value, str) else f'{value:,}'}"
