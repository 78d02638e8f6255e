"""Finds threads that one Windows process creates in another, from Event Tracing for Windows."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from etwdetect._version import __version__

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from etwdetect.core.rule import RemoteThread

__all__ = ["IncompleteTraceWarning", "__version__", "scan"]


class IncompleteTraceWarning(UserWarning):
    """A trace is incomplete: remote threads may be missing, and those found may be false."""


def scan(path: str | os.PathLike[str]) -> Iterator[RemoteThread]:
    """Yield the remote threads in the trace file(s) at *path*, each trace's in time order.

    *path* is an .etl file or a file of events, also packed or in an archive, or a directory of such; each trace is
    scanned on its own. Raises `etwdetect.errors.NotATraceError` for the first that can't be read at all. For any
    other defect of a trace (damage, lost events, no events that could show a remote thread) an
    IncompleteTraceWarning is issued after its last remote thread, and one for what is passed over beside traces.

    >>> for thread in scan("samples/windbg-attach.etl"):
    ...     print(thread.creator_pid, thread.creator_tid, "->", thread.pid, thread.tid)
    7392 4788 -> 8336 9384
    7392 13092 -> 8336 13288
    """
    # Lazy imports: a program that imports etwdetect starts fast.
    from etwdetect.offline import Scan, summary  # noqa: PLC0415
    from etwdetect.offline.inputs import UnreadInput, find_inputs  # noqa: PLC0415

    for found in find_inputs(path):
        if isinstance(found, UnreadInput) and found.passed_over:
            warnings.warn(str(found.error), IncompleteTraceWarning, stacklevel=2)
            continue
        with found.open() as trace:
            work = Scan([trace])
            for detection in work.detections():
                yield detection.thread
            for line in summary.warnings(work.result()):
                warnings.warn(line, IncompleteTraceWarning, stacklevel=2)
