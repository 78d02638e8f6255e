"""The fixed texts of a report: what it can't show, and what its evidence means; limitations.md has more."""

from __future__ import annotations

from typing import Final

NOT_SEEN: Final = (
    (
        "A remote thread is a technique, not a verdict.",
        "Debuggers, consoles and Windows itself make them as well.",
    ),
    (
        "Injection without a new thread",
        "is not here: queued APCs, changed or hijacked threads, hollowed processes.",
    ),
    ("Work put into another process's thread pool", "runs on that process's own threads, and is not here."),
    ("Window hooks and other ways to have a DLL loaded", "make no thread from outside, and are not here."),
    ("What is made by or in the processes 0 and 4", "is left out, so a driver's system threads are not here."),
    ("A process's first thread", "counts as its start, whoever makes it."),
    ("The source is the process that made the call.", "Who told it to, or gave it a handle, is not recorded."),
    ("Names prove nothing.", "Anyone can choose the name of a program and its command line."),
)
"""Each in two halves; the first names the subject."""

EVIDENCE: Final = (
    (
        "session-start",
        "within a second of a source's first event; it may be the first thread of a new process",
    ),
    ("events-lost", "at least so many events are missing; one of them may have explained this thread"),
    ("buffers-lost", "so many whole buffers are missing, with an unknown number of events"),
    ("table-overflow", "too many processes waited for their first thread; the target may have been one of them"),
    ("told-twice", "this start has the bytes of an earlier one; another session may have told it again"),
    ("second-header", "the file holds several recordings, and the target may have started in another one"),
    ("several-hosts", "files of several machines were joined; process ids of one mean nothing in another"),
    ("second-start", "the source or the target was told to start while it was running"),
    ("second-end", "the source or the target was told to exit twice; one of the exits may be made up"),
    ("after-exit", "the source or the target had exited; its exit may be made up, or a start is missing"),
    ("one-provider", "one of two providers lacks a thread start in the process; it may be made up"),
    ("doubled-buffer", "a buffer stands in the file twice, so the file is not as Windows wrote it"),
    ("mapped-over", "an image of the source or the target lies where another one was; it may be made up"),
    ("impossible-image", "an image of the source or the target would not fit into memory; it is made up"),
    ("second-program", "the source or the target mapped another file of its program's name"),
    ("renamed", "another event names the source or the target differently; a name may be made up"),
)
"""The kinds of evidence, each a reason why a hit may not be a remote thread, or not of the programs it names."""

LOSSES: Final = ("events-lost", "buffers-lost")
"""Those that mean that events are missing, so that remote threads may be missing too."""
