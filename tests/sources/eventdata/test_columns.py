"""Events in columns are what they are row by row."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etwdetect.core.events import ImageLoad, ThreadStart
from etwdetect.sources.eventdata.columns import events_of
from etwdetect.sources.eventdata.parquet import ARROW_SCHEMA, ParquetFile, ParquetWriter
from etwdetect.sources.eventdata.pieces import Pieces
from etwdetect.sources.eventdata.schema import (
    COLUMNS,
    KINDS,
    Recording,
    RecordingStart,
    from_row,
    to_row,
)
from tests.sources.eventdata.test_schema import any_event

HERE = Recording("HOST1", "7")
START = RecordingStart(5, 6)
WHOLE = Pieces()
WHOLE.add(0, 1, 0, follows=False)
ANY = st.lists(st.sampled_from(list(KINDS.values())).flatmap(any_event), min_size=1, max_size=12)


def in_columns(rows):
    return {column.name: [row.get(column.name) for row in rows] for column in COLUMNS}


@given(ANY)
def test_rows_in_columns_are_read_as_one_by_one(events):
    rows = [to_row(HERE, seq, event) for seq, event in enumerate(events)]
    assert events_of(in_columns(rows)) == events == [from_row(row).event for row in rows]


@given(ANY)
@settings(max_examples=30, deadline=None)
def test_what_is_written_as_parquet_is_read_back_in_its_order(events):
    file = io.BytesIO()
    writer = ParquetWriter(file)
    writer.begin(HERE, START)
    for event in events:
        writer.write(event)
    writer.close()
    assert [row for _, row in ParquetFile(file).rows(WHOLE, HERE)] == list(enumerate([START, *events]))


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "ThreadStop"},
        {"kind": None},
        {"seq": None},
        {"seq": -1},
        {"time": None},
        {"time": -1},
        {"time": 1 << 62},
        {"pid": 1 << 32},
        {"start_address": "7"},
    ],
)
def test_a_row_that_is_not_valid_is_refused_as_alone(change):
    rows = [to_row(HERE, seq, ThreadStart(10, 1, 2, 3, 4, 5)) for seq in range(3)]
    rows[1].update(change)
    with pytest.raises(ValueError):  # noqa: PT011 (`from_row` says why)
        from_row(rows[1])
    with pytest.raises((TypeError, ValueError)):
        events_of(in_columns(rows))


def test_a_bad_row_of_parquet_costs_only_itself():
    rows = [to_row(HERE, seq, ThreadStart(10, 1, 2, 3, seq)) for seq in range(3)]
    rows[1]["pid"] = -1
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, ARROW_SCHEMA), file)
    read = [row for _, row in ParquetFile(file).rows(WHOLE, HERE)]
    assert read[0::2] == [(0, ThreadStart(10, 1, 2, 3, 0)), (2, ThreadStart(10, 1, 2, 3, 2))]
    assert read[1] == "row group 0, row 2: pid: -1 is not a number from 0 to 4294967295"


def test_a_column_that_is_missing_gives_what_is_not_known():
    rows = [to_row(HERE, seq, ImageLoad(10, 1, 2, 3, 4, 5, "a")) for seq in range(2)]
    columns = {name: values for name, values in in_columns(rows).items() if name not in {"image", "rundown"}}
    assert events_of(columns) == [ImageLoad(10, 1, 2, 3, 4, 5)] * 2


def test_a_column_that_is_missing_and_needed_is_refused():
    columns = in_columns([to_row(HERE, 0, ThreadStart(10, 1, 2, 3, 4))])
    del columns["pid"]
    with pytest.raises(ValueError, match="missing"):
        events_of(columns)
