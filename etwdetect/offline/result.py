"""What a scan found besides its detections, as one record.

Named tuples: building a frozen dataclass of this many fields is felt at start-up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections import Counter

    from etwdetect.core.events import ThreadStart
    from etwdetect.core.rule import RuleCounts


class FileDamages(NamedTuple):
    """The damaged places of one input: their number, and the first ones as (offset in bytes, what is wrong).

    *missing* is how many of the *buffers* that its header counts are not there. *repeated* rows of a file of
    events have the number of an earlier one, and are left out.
    """

    name: str
    damages: int
    described: tuple[tuple[int, str], ...]
    missing: int = 0
    buffers: int = 0
    repeated: int = 0


class ScanResult(NamedTuple):
    """What `Scan.result` returns.

    *files* are the inputs in their order. *span* has the FILETIMEs of the first and the last event of interest,
    None without one. *thread_providers* are the GUIDs of the providers that logged thread starts, empty for a file
    of events. *finds_functions* says whether there are image files to find functions in.

    *events_read* counts records of all kinds, *counts* those of interest by kind. *unknown_versions* counts events
    of a version that is newer than any known layout, by (kind, version). *told_by_one_provider* and
    *told_by_two_providers* are thread starts that were told twice and left out once. *recordings* is 1, and one
    more for each further logfile header in the files. *doubled_buffers* stand twice and were read once.
    *events_lost* and *buffers_lost* are what Windows lost while it recorded, at the least; *images_damaged* are
    image events of the processes of remote threads that could not be read, *stacks_damaged* call stacks' records.

    *possible_misses* are the first of *possible_miss_count* first threads that may be remote, as their process was
    running when it was told to start. *hosts* is how many machines the files name.

    *thread_starts* counts the thread starts by row of the rule; *table_size* and *table_bound* are of the
    new-process table, *evictions* its evicted entries. *contradictions* counts the events that contradict others,
    by evidence. *stopped* says that not all was read because the user interrupted it. *seconds* is how long all of
    it took.
    """

    files: tuple[FileDamages, ...]
    span: tuple[int, int] | None
    host: str | None
    thread_providers: frozenset[bytes]
    finds_functions: bool
    events_read: int
    counts: Counter[str]
    unknown_versions: Counter[tuple[str, int]]
    told_by_one_provider: int
    told_by_two_providers: int
    recordings: int
    doubled_buffers: int
    events_lost: int
    buffers_lost: int
    images_damaged: int
    stacks_damaged: int
    thread_starts: RuleCounts
    possible_misses: tuple[ThreadStart, ...]
    possible_miss_count: int
    hosts: int
    table_size: int
    table_bound: int
    evictions: int
    stopped: bool
    contradictions: Counter[str]
    seconds: float

    @property
    def damages(self) -> int:
        """How many places could not be read."""
        return sum(file.damages for file in self.files)
