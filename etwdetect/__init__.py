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
    """Something of a trace is missing: what was found may be false, and more may have been there."""


def scan(path: str | os.PathLike[str]) -> Iterator[RemoteThread]:
    """Yield the remote threads in the trace file(s) at *path*, each trace's in time order.

    *path* is an .etl file, one in a .zip or .gz, or a directory of such; each is judged alone. Raises
    `etwdetect.errors.NotATraceError` for the first that can't be read at all. For whatever else is amiss with
    one (damage, lost events, nothing that could show a remote thread) an IncompleteTraceWarning is issued when
    its last remote thread has been yielded.

    >>> for thread in scan("samples/windbg-attach.etl"):
    ...     print(thread.creator_pid, thread.creator_tid, "->", thread.pid, thread.tid)
    7392 4788 -> 8336 9384
    7392 13092 -> 8336 13288
    """
    # Here and not above, so that a program that only imports etwdetect starts fast.
    from etwdetect.offline import Scan, summary  # noqa: PLC0415
    from etwdetect.offline.inputs import find_inputs  # noqa: PLC0415

    for found in find_inputs(path):
        with found.open() as trace:
            work = Scan([trace])
            for detection in work.detections():
                yield detection.thread
            for line in summary.warnings(work):
                warnings.warn(line, IncompleteTraceWarning, stacklevel=2)
