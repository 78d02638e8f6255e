"""The messages about a recording that contradicts itself, offline and live."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from etwdetect.core.filetime import iso_time
from etwdetect.results.wording import plural

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator, Sequence

    from etwdetect.core.events import ThreadStart

_NOTES: Final = {
    "second-start": ("start", "named a process that was running: it may be made up, or an exit is missing"),
    "second-end": (
        "exit",
        "named a process that had exited: one of its exits may be made up, or a start is missing",
    ),
    "after-exit": ("exit", "came before threads of the process: it may be made up, or a start is missing"),
    "one-provider": (
        "thread start",
        "came from only one of two providers that were both on: it may be made up, or missing from the other one",
    ),
    "told-twice": ("event", "may tell again what an earlier one told"),
    "mapped-over": ("image", "came to lie over another one: it may be made up, or an unmapping is missing"),
    "impossible-image": ("image", "did not fit into the address space, and counted for nothing"),
    "second-program": (
        "image",
        "had the name of its process's program and came from another folder; the first one counts as the program",
    ),
    "renamed": (
        "event",
        "gave a process another name, without an exit before: a name may be made up, or an exit may be missing",
    ),
}
"""By evidence: what is counted, and what is wrong with it."""


def notes(counts: Counter[str]) -> Iterator[str]:
    """Yield a line for each kind of contradiction that *counts* has; other names are not known here."""
    for evidence, (noun, what) in _NOTES.items():
        if counts[evidence]:
            yield f"{plural(counts[evidence], noun)} {what}"


def possible_misses(threads: Sequence[ThreadStart], count: int) -> Iterator[str]:
    """Yield a line for each of *threads*, the first of *count* first threads that may be remote."""
    yield from map(possible_miss, threads)
    if count > len(threads):
        yield f"{count:,} such first threads in all"


def possible_miss(thread: ThreadStart) -> str:
    """Return what is said of a first thread that may be remote."""
    return (
        f"thread {thread.tid} in process {thread.pid}, made by process {thread.creator_pid} at"
        f" {iso_time(thread.time)}, is first only because that running process is told to start again:"
        " it may be a remote thread"
    )
