"""Rows: events as columns of numbers, put in the order of the rule in bounded memory.

The rows of a window of the trace are sorted and kept as one run, beyond a limit in a temporary file. Runs are read
back a block at a time and merged, as often as asked for. A trace is nearly in order, so few runs are open at once.
"""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from etwdetect.core.files import temporary_file
from etwdetect.core.prefilter import PROCESS_START, PROCESS_STOP, THREAD_START

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    Rows = npt.NDArray[np.void]
    Numbers = npt.NDArray[np.integer[Any]]

ROW: Final = np.dtype(
    [
        ("key", np.uint64),
        ("address", np.uint64),
        ("place", np.int64),
        ("pid", np.uint32),
        ("tid", np.uint32),
        ("creator_pid", np.uint32),
        ("creator_tid", np.uint32),
        ("code", np.uint8),
        ("has_address", np.bool_),
        ("has_name", np.bool_),
        ("has_key", np.bool_),
        ("creator_key", np.uint64),
    ],
    align=True,
)
"""One event. *key* is its time and rank (`key_of`). *place* is where its record is kept, -1 for a thread event, of
which the row says all. *address* is the start address of a thread or the creation time of a process, valid where
*has_address*. *creator_pid* of a process is its parent, 0 where that is not told; *has_name* says whether its
name is. *creator_key* is the start key of a thread's creator, valid where *has_key*."""

IN_MEMORY: Final = 1 << 17
"""How many rows are kept in memory, 7 MiB; as many may be in the blocks that are merged."""

BLOCK: Final = 1 << 16
"""How many rows are yielded at once, at the least, but for the last ones."""

_SMALLEST: Final = 512
_RANKS_AT_ONE_TIME: Final = 5
_RANKS: Final = np.full(256, 3, np.uint64)
"""By code: the place among events of one time, as `core.order` has it."""
_RANKS[[PROCESS_STOP, PROCESS_START, THREAD_START]] = 1, 2, 4


def keys_of(time: Numbers, code: int) -> npt.NDArray[np.uint64]:
    """Return the sort keys of events of one *code* at *time*; events with equal keys stay as they are."""
    found: npt.NDArray[np.uint64] = time.astype(np.uint64) * np.uint64(_RANKS_AT_ONE_TIME) + _RANKS[code]
    return found


def key_of(time: int, code: int) -> int:
    """Return the sort key of one event."""
    return time * _RANKS_AT_ONE_TIME + int(_RANKS[code])


def time_of(key: int) -> int:
    """Return the FILETIME in a sort key."""
    return key // _RANKS_AT_ONE_TIME


def _in_order(rows: Rows) -> Rows:
    return rows[np.argsort(rows["key"], kind="stable")]


class _Run(NamedTuple):
    """Sorted rows: *rows*, or *size* of them at *offset* in the file; their first and last key; its number."""

    first: int
    last: int
    number: int
    size: int
    offset: int
    rows: Rows | None


class SortedRuns:
    """Takes rows in the order of the trace and yields them in the order of the rule, as often as asked for.

    At most *limit* rows are kept in memory.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._runs: list[_Run] = []
        self._in_memory = 0
        self._file: IO[bytes] | None = None

    def add(self, rows: Rows) -> None:
        """Take the rows of one window; OSError where the temporary file can't be written."""
        if not len(rows):
            return
        rows = _in_order(rows)
        first, last = int(rows["key"][0]), int(rows["key"][-1])
        offset, kept = 0, True
        if self._in_memory + len(rows) > self._limit:
            offset, kept = self._spill(rows), False
        else:
            self._in_memory += len(rows)
        self._runs.append(_Run(first, last, len(self._runs), len(rows), offset, rows if kept else None))

    def _spill(self, rows: Rows) -> int:
        if self._file is None:
            self._file = temporary_file(self)
        offset = self._file.seek(0, 2)
        self._file.write(rows.data)
        return offset

    def blocks(self) -> Iterator[Rows]:
        """Yield all rows in order, many at a time."""
        gathered: list[Rows] = []
        count = 0
        for rows in self._merged():
            gathered.append(rows)
            count += len(rows)
            if count >= BLOCK:
                yield np.concatenate(gathered)
                gathered, count = [], 0
        if gathered:
            yield np.concatenate(gathered)

    def _merged(self) -> Iterator[Rows]:
        """Yield all rows in order.

        Each step yields what is sure to come before all that is not loaded: the rows before the last one that is
        loaded of any open run, and before the first one of the next run. Of equal rows, those of an earlier run
        come first.
        """
        size = max(self._limit // max(self._most_at_once(), 1), _SMALLEST)
        waiting = sorted(self._runs, key=lambda run: (run.first, run.number), reverse=True)
        opened: list[_Cursor] = []
        while waiting or opened:
            bounds = [(each.last, each.number, each) for each in opened if each.more]
            bound = min(bounds, key=lambda each: each[:2], default=None)
            opens = bool(waiting) and (bound is None or (waiting[-1].first, waiting[-1].number) < bound[:2])
            limit = (waiting[-1].first, waiting[-1].number) if opens else bound and bound[:2]
            due = [rows for each in sorted(opened, key=lambda each: each.number) if len(rows := each.take(limit))]
            if due:
                yield _in_order(np.concatenate(due)) if len(due) > 1 else due[0]
            if opens:
                opened.append(_Cursor(waiting.pop(), size, self._file))
            elif bound is not None:
                bound[2].load()
            opened = [each for each in opened if each.more or each.left]

    def _most_at_once(self) -> int:
        """Return how many runs overlap at the most."""
        ends = sorted([(run.first, 0) for run in self._runs] + [(run.last, 1) for run in self._runs])
        most = now = 0
        for _, is_end in ends:
            now += -1 if is_end else 1
            most = max(most, now)
        return most


class _Cursor:
    """Reads a run, *size* rows at a time. `last` is the key of the last row that is loaded."""

    def __init__(self, run: _Run, size: int, file: IO[bytes] | None) -> None:
        self.number = run.number
        self._run = run
        self._size = size
        self._file = file
        self._loaded = 0
        self._rows: Rows = np.zeros(0, ROW)
        self.last = run.first
        self.load()

    @property
    def more(self) -> bool:
        """Whether rows are not loaded yet."""
        return self._loaded < self._run.size

    @property
    def left(self) -> int:
        """How many of the loaded rows are not taken."""
        return len(self._rows)

    def load(self) -> None:
        """Load the next rows behind those that are left."""
        count = min(self._size, self._run.size - self._loaded)
        if self._run.rows is not None:
            rows = self._run.rows[self._loaded : self._loaded + count]
        else:
            assert self._file is not None
            self._file.seek(self._run.offset + self._loaded * ROW.itemsize)
            rows = np.frombuffer(self._file.read(count * ROW.itemsize), ROW)
        self._loaded += count
        self._rows = np.concatenate((self._rows, rows)) if len(self._rows) else rows
        self.last = int(self._rows["key"][-1])

    def take(self, limit: tuple[int, int] | None) -> Rows:
        """Return the loaded rows up to *limit*, a key and the number of a run that has it; all without one."""
        end = len(self._rows)
        if limit is not None:
            key, number = limit
            end = int(
                np.searchsorted(self._rows["key"], np.uint64(key), "right" if self.number <= number else "left")
            )
        taken, self._rows = self._rows[:end], self._rows[end:]
        return taken
