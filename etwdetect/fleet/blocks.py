"""Rows in Arrow columns: into tuples for a judge, without the rows that change nothing. It imports no Spark."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etwdetect.core.prefilter import passed_over
from etwdetect.fleet.judge import FAULT, SortedJudge

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy.typing as npt

    from etwdetect.fleet.fault import Fault
    from etwdetect.fleet.judge import Hit, Row

    Flags = npt.NDArray[np.bool_]

_SCHEMA: Final = pa.schema(
    [("host", pa.string()), ("recording", pa.string())]
    + [("time", pa.int64()), ("code", pa.int32()), ("seq", pa.int64())]
    + [(name, pa.int64()) for name in ("first", "second", "pid", "tid")]
    + [("text", pa.string())]
)
"""The columns of a block: names, and behind them a `judge.Row`."""

_KEY: Final = "key"
_NO_ID: Final = -1


def rows_of(block: pa.RecordBatch) -> Iterator[tuple[str, str, Row]]:
    """Yield (host, recording, row) for the rows of *block*."""
    host, recording, *values = (block.column(name).to_pylist() for name in _SCHEMA.names)
    yield from zip(host, recording, zip(*values, strict=True), strict=True)


def packed(block: pa.RecordBatch, by: str) -> Iterator[tuple[int, bytes]]:
    """Yield the rows of *block* for each value of the column *by*, as bytes for `unpacked`."""
    groups = block.column(by).to_numpy()
    order = np.argsort(groups, kind="stable")
    rows = block.select(_SCHEMA.names).take(pa.array(order))
    begins = np.flatnonzero(_begins(groups[order]))
    for begin, end in pairwise((*begins.tolist(), len(order))):
        yield int(groups[order[begin]]), rows.slice(begin, end - begin).serialize().to_pybytes()


def unpacked(block: bytes) -> Iterator[tuple[str, str, Row]]:
    """Yield (host, recording, row) for what `packed` made."""
    yield from rows_of(pa.ipc.read_record_batch(pa.py_buffer(block), _SCHEMA))


def judge_blocks(blocks: Iterable[pa.RecordBatch]) -> Iterator[Hit | Fault]:
    """Judge blocks of keyed rows: all rows of a key together and in order; recordings may share a key."""
    judge = SortedJudge()
    for block in blocks:
        if block.num_rows:
            kept = block.filter(_matters(block, judge))
            for key, row in zip(kept.column(_KEY).to_pylist(), rows_of(kept), strict=True):
                found = judge.judge(key, *row)
                if found is not None:
                    yield found


def _matters(block: pa.RecordBatch, judge: SortedJudge) -> Flags:
    """Return which rows must be judged: all but those that `prefilter` passes over."""
    key, host, recording = (_differs(block.column(name)) for name in (_KEY, "host", "recording"))
    rule = judge.rule(block.column(_KEY)[0].as_py())
    if rule is None or bool(np.any((host | recording) & ~key)):
        return np.ones(block.num_rows, np.bool_)  # recordings share a key: rare, so this may be slow
    code, pid, first = (_numbers(block.column(name)) for name in ("code", "pid", "first"))
    # The first row of a recording that is not a fault tells the judge whether the RecordingStart is there.
    maybe_first = key | np.concatenate(([True], code[:-1] == FAULT))
    several = np.count_nonzero(key) > 1
    matters: Flags = ~passed_over(
        code, pid, first, rule, seen=maybe_first, recording=np.cumsum(key) if several else None
    )
    return matters | maybe_first


def _differs(column: pa.Array) -> Flags:
    """Return where a value differs from the one before it; the first one does."""
    changes = pc.fill_null(pc.not_equal(column.slice(1), column.slice(0, len(column) - 1)), True)  # noqa: FBT003
    return np.concatenate(([True], changes.to_numpy(zero_copy_only=False)))


def _begins(values: npt.NDArray[np.int64]) -> Flags:
    begins: Flags = np.concatenate(([True], values[1:] != values[:-1]))[: len(values)]
    return begins


def _numbers(column: pa.Array) -> npt.NDArray[Any]:
    numbers: npt.NDArray[Any] = column.fill_null(_NO_ID).to_numpy(zero_copy_only=False)
    return numbers
